//! How our types are stored in columns.
use jiff::Timestamp;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use strata_oci::{DiffId, Digest, ImageId};

/// A digest of any meaning, stored as its 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes32(pub(crate) [u8; 32]);

impl Bytes32 {
    pub(crate) fn digest(self) -> Digest {
        Digest::from_bytes(self.0)
    }

    pub(crate) fn diff_id(self) -> DiffId {
        DiffId::new(self.digest())
    }

    pub(crate) fn image_id(self) -> ImageId {
        ImageId::new(self.digest())
    }
}

impl From<&Digest> for Bytes32 {
    fn from(digest: &Digest) -> Self {
        Self(*digest.as_bytes())
    }
}

impl From<&DiffId> for Bytes32 {
    fn from(diff_id: &DiffId) -> Self {
        diff_id.digest().into()
    }
}

impl From<&ImageId> for Bytes32 {
    fn from(id: &ImageId) -> Self {
        id.digest().into()
    }
}

impl ToSql for Bytes32 {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Blob(&self.0)))
    }
}

impl FromSql for Bytes32 {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let bytes = value.as_blob()?;
        let expected_size = 32;
        bytes
            .try_into()
            .map(Self)
            .map_err(|_| FromSqlError::InvalidBlobSize { expected_size, blob_size: bytes.len() })
    }
}

/// A time, stored as nanoseconds since 1970 (enough until 2262).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time(pub(crate) Timestamp);

/// The present.
pub(crate) fn now() -> Time {
    Time(Timestamp::now())
}

impl ToSql for Time {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let nanoseconds = self.0.as_nanosecond().clamp(i64::MIN.into(), i64::MAX.into());
        Ok(ToSqlOutput::from(i64::try_from(nanoseconds).expect("clamped to the range")))
    }
}

impl FromSql for Time {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let nanoseconds = value.as_i64()?;
        Timestamp::from_nanosecond(nanoseconds.into())
            .map(Self)
            .map_err(|error| FromSqlError::Other(error.into()))
    }
}
