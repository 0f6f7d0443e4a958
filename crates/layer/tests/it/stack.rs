//! The merged view against the kernel's: the same layers, mounted and stacked by overlayfs.
use crate::scene::{Scene, is_root, shell};
use proptest::prelude::{ProptestConfig, Strategy, any, prop};
use proptest::test_runner::TestRunner;
use rustix::fs::{AtFlags, StatxFlags};
use rustix::mount::{MountFlags, UnmountFlags};
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use strata_layer::tree::SourceTree;
use strata_layer::{FileType, LayerBuilder, LayerError, Metadata, Stack, Xattr};

/// Mounts that are taken down again, last first.
#[derive(Default)]
struct Mounts(Vec<PathBuf>);

impl Mounts {
    fn add(&mut self, source: &str, target: PathBuf, kind: &str, options: &str) -> PathBuf {
        fs_err::create_dir_all(&target).unwrap();
        let options = std::ffi::CString::new(options).unwrap();
        rustix::mount::mount(source, &target, kind, MountFlags::RDONLY, Some(options.as_c_str()))
            .unwrap_or_else(|error| panic!("mount {source} on {}: {error}", target.display()));
        self.0.push(target.clone());
        target
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        for target in self.0.drain(..).rev() {
            rustix::mount::unmount(&target, UnmountFlags::DETACH).unwrap();
        }
    }
}

/// Mounts every layer of the scene and overlayfs on top of them.
fn mount(scene: &Scene, mounts: &mut Mounts) -> PathBuf {
    let layers: Vec<PathBuf> = (0..scene.layers.len())
        .map(|number| {
            let index = scene.path(&format!("{number}.index"));
            let device = format!("device={}", scene.path(&format!("{number}.tar")).display());
            mounts.add(index.to_str().unwrap(), scene.path(&format!("mnt-{number}")), "erofs", &device)
        })
        .collect();
    let empty = scene.path("empty");
    fs_err::create_dir_all(&empty).unwrap();
    // overlayfs wants two lower layers where there is no upper one.
    let lower: Vec<_> = layers.iter().rev().chain([&empty]).map(|path| path.to_str().unwrap()).collect();
    mounts.add("overlay", scene.path("merged"), "overlay", &format!("lowerdir={}", lower.join(":")))
}

/// One entry as text, comparable between the kernel and a stack.
fn line(metadata: &Metadata, link: &[u8], content: &[u8]) -> String {
    let xattrs: Vec<String> = metadata
        .xattrs
        .iter()
        .map(|xattr| format!("{}={}", xattr.name.escape_ascii(), xattr.value.escape_ascii()))
        .collect();
    let mode = if metadata.file_type == FileType::Symlink { 0 } else { metadata.mode };
    format!(
        "{:?} {mode:o} {}:{} {}.{:09} {} {:?} {xattrs:?} {} {}",
        metadata.file_type,
        metadata.uid,
        metadata.gid,
        metadata.mtime,
        metadata.mtime_nsec,
        metadata.size,
        metadata.rdev,
        link.escape_ascii(),
        blake3::hash(content).to_hex(),
    )
}

/// What the kernel shows below `root`.
pub(crate) fn kernel_listing(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut lines = BTreeMap::new();
    let mut waiting = vec![(root.to_owned(), Vec::new())];
    while let Some((directory, inside)) = waiting.pop() {
        for entry in fs_err::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path();
            let mut name = inside.clone();
            if !name.is_empty() {
                name.push(b'/');
            }
            name.extend(entry.file_name().as_bytes());
            let metadata = kernel_metadata(&path);
            let (mut link, mut content) = (Vec::new(), Vec::new());
            match metadata.file_type {
                FileType::Directory => waiting.push((path.clone(), name.clone())),
                FileType::Symlink => link = fs_err::read_link(&path).unwrap().into_os_string().into_vec(),
                FileType::Regular => content = fs_err::read(&path).unwrap(),
                _ => {}
            }
            lines.insert(name, line(&metadata, &link, &content));
        }
    }
    lines
}

fn kernel_metadata(path: &Path) -> Metadata {
    let status =
        rustix::fs::statx(rustix::fs::CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS).unwrap();
    use rustix::fs::FileType as Kind;
    let file_type = match Kind::from_raw_mode(status.stx_mode.into()) {
        Kind::RegularFile => FileType::Regular,
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::CharacterDevice => FileType::CharDevice,
        Kind::BlockDevice => FileType::BlockDevice,
        Kind::Fifo => FileType::Fifo,
        other => panic!("{}: {other:?}", path.display()),
    };
    let has_size = matches!(file_type, FileType::Regular | FileType::Symlink);
    let mut names = Vec::with_capacity(4096);
    rustix::fs::llistxattr(path, rustix::buffer::spare_capacity(&mut names)).unwrap();
    let mut xattrs: Vec<Xattr> = names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = Vec::with_capacity(4096);
            rustix::fs::lgetxattr(path, name, rustix::buffer::spare_capacity(&mut value)).unwrap();
            Xattr { name: name.to_vec(), value }
        })
        .collect();
    xattrs.sort();
    Metadata {
        file_type,
        mode: status.stx_mode & 0o7777,
        uid: status.stx_uid,
        gid: status.stx_gid,
        mtime: status.stx_mtime.tv_sec,
        mtime_nsec: status.stx_mtime.tv_nsec,
        size: if has_size { status.stx_size } else { 0 },
        rdev: (status.stx_rdev_major, status.stx_rdev_minor),
        xattrs,
    }
}

/// What the stack shows, by walking, by listing each directory, and by looking each path up: all must agree.
fn stack_listing(stack: &Stack) -> BTreeMap<Vec<u8>, String> {
    let mut lines = BTreeMap::new();
    for (path, entry) in stack.walk(b"", None).unwrap().iter() {
        let node = stack.lookup(&path).unwrap().expect("a walked path can be looked up");
        assert_eq!(node.metadata, entry.metadata);
        let parent = path.iter().rposition(|byte| *byte == b'/').map_or(&b""[..], |slash| &path[..slash]);
        let name = &path[if parent.is_empty() { 0 } else { parent.len() + 1 }..];
        let listed = Stack::read_dir(stack, parent).unwrap();
        assert!(
            listed.iter().any(|(found, at)| found == name && at.nid == node.nid && at.layer == node.layer)
        );
        let mut content = Vec::new();
        if node.metadata.file_type == FileType::Regular {
            Stack::open(stack, &node).unwrap().read_to_end(&mut content).unwrap();
            let digest = Stack::content_digest(stack, &node).unwrap();
            assert_eq!(&digest.0, blake3::hash(&content).as_bytes());
        }
        lines.insert(path, line(&node.metadata, &entry.link, &content));
    }
    lines
}

#[track_caller]
fn assert_same(kernel: &BTreeMap<Vec<u8>, String>, ours: &BTreeMap<Vec<u8>, String>) {
    for path in kernel.keys().chain(ours.keys()) {
        assert_eq!(kernel.get(path), ours.get(path), "{}", path.escape_ascii());
    }
}

/// An entry of a random layer.
#[derive(Clone, Debug)]
enum Step {
    Directory { opaque: bool },
    File(u8),
    Link(u8),
    Whiteout,
    Device,
    HardLink,
}

/// Names from a small set meet each other often.
fn random_layer() -> impl Strategy<Value = Vec<(Vec<u8>, Step, u16, u32)>> {
    let path = prop::collection::vec(prop::sample::select(vec!["a", "b", "c.d", "-e"]), 1..5)
        .prop_map(|names| names.join("/").into_bytes());
    let step = (0u8..12, any::<u8>()).prop_map(|(kind, value)| match kind {
        0..=3 => Step::Directory { opaque: value < 40 },
        4..=6 => Step::File(value),
        7 => Step::Link(value),
        8..=9 => Step::Whiteout,
        10 => Step::Device,
        _ => Step::HardLink,
    });
    prop::collection::vec((path, step, 0u16..0o10000, 0u32..70_000), 0..24)
}

/// Writes a random layer: each path once, a parent before its children, nothing below what is no directory.
fn write_random(
    builder: &mut LayerBuilder<std::fs::File>,
    steps: &[(Vec<u8>, Step, u16, u32)],
) -> Result<(), LayerError> {
    let unique: BTreeMap<&[u8], &(Vec<u8>, Step, u16, u32)> =
        steps.iter().map(|step| (step.0.as_slice(), step)).collect();
    let mut last_file: Option<&[u8]> = None;
    for (path, (_, step, mode, owner)) in &unique {
        let in_directories = (0..path.len()).filter(|at| path[*at] == b'/').all(|end| {
            unique.get(&path[..end]).is_none_or(|parent| matches!(parent.1, Step::Directory { .. }))
        });
        if !in_directories {
            continue;
        }
        let metadata = |file_type, size| Metadata {
            file_type,
            mode: *mode,
            uid: *owner,
            gid: owner + 1,
            mtime: i64::from(*owner) - 1000,
            mtime_nsec: owner * 7,
            size,
            rdev: if file_type == FileType::CharDevice { (1, 3) } else { (0, 0) },
            xattrs: if owner % 5 == 0 && file_type == FileType::Regular {
                vec![Xattr { name: b"user.x".to_vec(), value: owner.to_le_bytes().to_vec() }]
            } else {
                Vec::new()
            },
        };
        match step {
            Step::Directory { opaque } => {
                builder.add(path, &metadata(FileType::Directory, 0), b"")?;
                if *opaque {
                    builder.opaque(path)?;
                }
            }
            Step::File(value) => {
                let content = vec![*value; usize::from(*value) * 9];
                builder.add_file(
                    path,
                    &metadata(FileType::Regular, content.len() as u64),
                    &mut content.as_slice(),
                    None,
                )?;
                last_file = Some(path);
            }
            Step::Link(value) => {
                let target = ["a", "../b", "/a/b", "nowhere", "."][usize::from(*value) % 5].as_bytes();
                builder.add(path, &metadata(FileType::Symlink, target.len() as u64), target)?;
            }
            Step::Whiteout => builder.whiteout(path)?,
            Step::Device => builder.add(path, &metadata(FileType::CharDevice, 0), b"")?,
            Step::HardLink => {
                if let Some(target) = last_file {
                    builder.hard_link(path, target)?;
                }
            }
        }
    }
    Ok(())
}

#[test]
fn random_stacks_look_as_overlayfs_shows_them() {
    if !is_root() {
        return;
    }
    let layers = prop::collection::vec(random_layer(), 3..7);
    let config = ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() };
    let checked = TestRunner::new(config).run(&layers, |layers| {
        let mut scene = Scene::new();
        for steps in &layers {
            scene.add(|builder| write_random(builder, steps)).unwrap();
        }
        let mut mounts = Mounts::default();
        let merged = mount(&scene, &mut mounts);
        let ours = stack_listing(&scene.stack());
        assert_same(&kernel_listing(&merged), &ours);
        check_unpacked(&scene);
        Ok(())
    });
    checked.unwrap();
}

/// Every layer alone: unpacked it must look like mounted, whiteouts and overlayfs's marks included.
fn check_unpacked(scene: &Scene) {
    for (number, layer) in scene.layers.iter().enumerate() {
        let unpacked = scene.path(&format!("unpacked-{number}"));
        fs_err::create_dir(&unpacked).unwrap();
        layer.unpack(&unpacked).unwrap();
        assert_same(&kernel_listing(&scene.path(&format!("mnt-{number}"))), &kernel_listing(&unpacked));
    }
}

#[test]
fn tree_mode_stacks_look_the_same() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new();
    scene.base(
        "mkdir -p d/s gone keep; echo 1 > d/old; echo 2 > d/both; echo 3 > gone/x; touch f; ln d/old hard",
    );
    let directory = |mode| Metadata {
        file_type: FileType::Directory,
        mode,
        uid: 1,
        gid: 2,
        mtime: 3,
        mtime_nsec: 4,
        size: 0,
        rdev: (0, 0),
        xattrs: Vec::new(),
    };
    scene
        .add(|builder| {
            builder.add(b"d", &directory(0o750), b"")?;
            builder.opaque(b"d")?;
            builder.add(b"d/new", &directory(0o1777), b"")?;
            builder.add(b"f", &directory(0o700), b"")?;
            builder.whiteout(b"gone")?;
            Ok::<_, LayerError>(())
        })
        .unwrap();
    let mut mounts = Mounts::default();
    let lower: Vec<String> = (0..2)
        .rev()
        .map(|number| {
            let unpacked = scene.path(&format!("tree-{number}"));
            fs_err::create_dir(&unpacked).unwrap();
            scene.layers[number].unpack(&unpacked).unwrap();
            unpacked.to_str().unwrap().to_owned()
        })
        .collect();
    let merged =
        mounts.add("overlay", scene.path("tree"), "overlay", &format!("lowerdir={}", lower.join(":")));
    let ours = stack_listing(&scene.stack());
    assert_same(&kernel_listing(&merged), &ours);
    let names: Vec<_> = ours.keys().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    assert_eq!(names, ["d", "d/new", "f", "hard", "keep"]);
}

#[test]
fn links_are_resolved_inside_the_root() {
    let mut scene = Scene::new();
    scene.base(
        "mkdir -p a/b etc; touch etc/conf a/file; ln -s /a abs; ln -s ../../.. a/b/up; ln -s b/../file a/rel
         ln -s self self; ln -s /none/x dangling; ln -s abs/b two",
    );
    let stack = scene.stack();
    let resolve = |path: &str, follow| {
        let resolved = stack.resolve(path.as_bytes(), follow).unwrap();
        (String::from_utf8(resolved.path).unwrap(), resolved.node.is_some())
    };
    for (path, follow, expected, exists) in [
        ("/abs/b", true, "a/b", true),
        ("two/up/etc/conf", true, "etc/conf", true),
        ("abs/rel", true, "a/file", true),
        ("abs/rel", false, "a/rel", true),
        ("abs", false, "abs", true),
        ("dangling", true, "none/x", false),
        ("dangling/y", false, "none/x/y", false),
        ("missing/../etc/./conf", true, "etc/conf", true),
        ("../../..", true, "", true),
        ("a/file/x", true, "a/file/x", false),
        ("a/b/..", true, "a", true),
    ] {
        assert_eq!(resolve(path, follow), (expected.to_owned(), exists), "{path}");
    }
    let error = stack.resolve(b"self", true).unwrap_err();
    assert_eq!(error.to_string(), "/self: too many levels of symbolic links");
    assert_eq!(resolve("self", false), ("self".to_owned(), true));
}

#[test]
fn an_empty_stack_is_an_empty_directory() {
    let stack = Stack::new(Vec::new());
    assert!(Stack::read_dir(&stack, b"").unwrap().is_empty());
    assert!(stack.lookup(b"x").unwrap().is_none());
    assert_eq!(stack.resolve(b"/x/../y", true).unwrap().path, b"y");
    assert!(Stack::read_dir(&stack, b"x").is_err());
}

#[test]
fn a_tar_of_another_length_is_refused() {
    let mut scene = Scene::new();
    scene.base("echo x > f");
    let index = fs_err::read(scene.path("0.index")).unwrap();
    shell(scene.directory.path(), "printf x >> 0.tar");
    let tar = fs_err::File::open(scene.path("0.tar")).unwrap().into_file();
    let error = strata_layer::Layer::open(index, tar).err().unwrap();
    assert!(error.to_string().contains("its index was made for"), "{error}");
}
