//! What goes into a statement and what comes out, for both engines.

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Arguments, Encode, Row as _, Type, ValueRef as _};

use crate::Error;

/// An argument. Its type is told also when it is null, because PostgreSQL asks.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

/// One row of an answer.
pub(crate) enum Row {
    Postgres(PgRow),
    Sqlite(SqliteRow),
}

/// What can be read from a column.
pub(crate) trait Column: Sized {
    /// The value of the column of that name.
    fn read(row: &Row, column: &str) -> Result<Self, Error>;
}

/// The arguments of a statement, in the order of their numbers.
macro_rules! args {
    ($($value:expr),* $(,)?) => {
        vec![$($crate::database::Value::from($value)),*]
    };
}
pub(crate) use args;

/// Hands arguments over to the engine.
pub(crate) fn bind<A>(values: Vec<Value>) -> Result<A, Error>
where
    A: Arguments,
    Option<i64>: for<'t> Encode<'t, A::Database> + Type<A::Database>,
    Option<String>: for<'t> Encode<'t, A::Database> + Type<A::Database>,
    Option<Vec<u8>>: for<'t> Encode<'t, A::Database> + Type<A::Database>,
{
    let mut arguments = A::default();
    for value in values {
        match value {
            Value::Int(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value),
            Value::Bytes(value) => arguments.add(value),
        }
        .map_err(Error::other)?;
    }
    Ok(arguments)
}

// === impl Row ===

impl Row {
    /// The value of the column of that name.
    pub(crate) fn get<T: Column>(&self, column: &str) -> Result<T, Error> {
        T::read(self, column)
    }

    fn is_null(&self, column: &str) -> Result<bool, Error> {
        Ok(match self {
            Self::Postgres(row) => row.try_get_raw(column)?.is_null(),
            Self::Sqlite(row) => row.try_get_raw(column)?.is_null(),
        })
    }
}

// === impl Column ===

macro_rules! primitive {
    ($type:ty, $variant:ident) => {
        impl Column for $type {
            fn read(row: &Row, column: &str) -> Result<Self, Error> {
                Ok(match row {
                    Row::Postgres(row) => row.try_get(column)?,
                    Row::Sqlite(row) => row.try_get(column)?,
                })
            }
        }

        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::$variant(Some(value))
            }
        }
    };
}

primitive!(i64, Int);
primitive!(String, Text);
primitive!(Vec<u8>, Bytes);

/// Counts are never negative.
impl Column for u64 {
    fn read(row: &Row, column: &str) -> Result<Self, Error> {
        Self::try_from(i64::read(row, column)?).map_err(Error::other)
    }
}

impl<T: Column> Column for Option<T> {
    fn read(row: &Row, column: &str) -> Result<Self, Error> {
        if row.is_null(column)? { Ok(None) } else { T::read(row, column).map(Some) }
    }
}

// === impl Value ===

/// What is more than 8 EiB is as much as that: nothing here is.
impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Int(Some(i64::try_from(value).unwrap_or(i64::MAX)))
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl<T: Into<Value> + Nullable> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(T::NULL, Into::into)
    }
}

/// What null is for a type.
pub(crate) trait Nullable {
    const NULL: Value;
}

macro_rules! nullable {
    ($($type:ty => $variant:ident),+ $(,)?) => {
        $(impl Nullable for $type {
            const NULL: Value = Value::$variant(None);
        })+
    };
}

nullable!(i64 => Int, u64 => Int, String => Text, &str => Text, Vec<u8> => Bytes);
nullable!(crate::AccountId => Text, crate::AssetId => Text, crate::UploadId => Text, crate::VideoId => Text);
nullable!(crate::EventId => Text, crate::WebhookId => Text, crate::WebhookState => Text);
nullable!(crate::Failure => Text, crate::JobId => Text, crate::JobState => Text, crate::Role => Text, crate::VideoState => Text, crate::Visibility => Text);
