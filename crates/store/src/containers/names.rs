//! Names of containers.
use crate::staging::random_bytes;

/// Pleasant moods and manners.
const ADJECTIVES: [&str; 64] = [
    "agile", "alert", "amber", "ample", "artful", "balmy", "blithe", "bold", "breezy", "bright", "brisk",
    "calm", "candid", "careful", "cheery", "civil", "clear", "clever", "cosy", "crisp", "curious", "dapper",
    "daring", "deft", "eager", "earnest", "exact", "fair", "fleet", "fond", "frank", "gentle", "glad",
    "hardy", "honest", "humble", "jolly", "keen", "kind", "lively", "lucid", "mellow", "merry", "mindful",
    "modest", "neat", "nimble", "patient", "placid", "plucky", "polite", "proud", "quick", "quiet", "rapid",
    "serene", "sincere", "sturdy", "sunny", "tidy", "upbeat", "vivid", "warm", "witty",
];

/// People who looked closely at layers, matter, numbers or machines.
const SCIENTISTS: [&str; 64] = [
    "abel",
    "agnesi",
    "alhazen",
    "ampere",
    "anning",
    "arago",
    "avicenna",
    "babbage",
    "bassi",
    "bernoulli",
    "boole",
    "borlaug",
    "bose",
    "boyle",
    "brahe",
    "cannon",
    "carson",
    "cavendish",
    "celsius",
    "chandrasekhar",
    "chatelet",
    "church",
    "curie",
    "dalton",
    "darwin",
    "dirac",
    "elion",
    "euclid",
    "euler",
    "faraday",
    "fermat",
    "fermi",
    "fourier",
    "franklin",
    "galois",
    "gauss",
    "germain",
    "goodall",
    "hamilton",
    "herschel",
    "hooke",
    "hopper",
    "hutton",
    "hypatia",
    "khwarizmi",
    "kepler",
    "kovalevskaya",
    "lamarr",
    "leavitt",
    "lehmann",
    "lonsdale",
    "lovelace",
    "lyell",
    "maxwell",
    "meitner",
    "mendel",
    "noether",
    "pascal",
    "ramanujan",
    "shannon",
    "steno",
    "turing",
    "volta",
    "yalow",
];

/// A name like `calm_noether`; not necessarily free.
pub fn random_name() -> String {
    let [first, second] = random_bytes::<2>();
    format!("{}_{}", ADJECTIVES[usize::from(first) % 64], SCIENTISTS[usize::from(second) % 64])
}

/// Docker's rule for names of containers and volumes: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
pub(crate) fn is_valid_name(name: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    name.len() >= 2 && name.as_bytes()[0].is_ascii_alphanumeric() && name.bytes().all(rest)
}
