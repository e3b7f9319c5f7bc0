//! An embedded database for programs that run on one machine: tables of rows, keys are bytes, rows are JSON, tensors or bytes. What a
//! method wrote is on disk when it returns.
//!
//! One file belongs to one identity (chain, contracts, keys); another identity is refused, so that what was kept under one
//! deployment is never used under another.

use std::{fmt::Display, path::Path, sync::Arc};

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction};
use serde::{Serialize, de::DeserializeOwned};
use touchstone_protocol::descriptor::Dtype;

/// A table's name.
pub type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;
/// Key and row, as bytes.
pub type Row = (Vec<u8>, Vec<u8>);

/// Dtype, shape and bytes of a tensor.
pub type Tensor = (Dtype, Vec<u32>, Vec<u8>);

/// Named facts, of which the identity is one.
pub const META: Table = TableDefinition::new("meta");
const IDENTITY: &[u8] = b"identity";

/// Why the tables gave no answer. Never the other side's fault.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The database failed.
    #[error("store: {0}")]
    Database(#[from] Box<redb::Error>),
    /// A row does not read.
    #[error("store: row of {table} does not read: {what}")]
    Corrupt {
        /// The table.
        table: String,
        /// What is wrong with it.
        what: String,
    },
    /// The file belongs to somebody else.
    #[error("store: belongs to {found}, this is {expected}")]
    Identity {
        /// Who we are.
        expected: String,
        /// Whose it is.
        found: String,
    },
}

/// The tables of one file. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Tables {
    database: Arc<Database>,
}

impl Tables {
    /// Opens or creates `file` with these tables and [`META`].
    ///
    /// # Errors
    /// The folder cannot be used, another process has the file open, or it belongs to another identity.
    pub fn open<I>(file: &Path, tables: &[Table], identity: &I) -> Result<Self, TableError>
    where
        I: Serialize + DeserializeOwned + PartialEq + Display,
    {
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).map_err(|error| failed(redb::Error::Io(error)))?;
        }
        let opened = Self {
            database: Arc::new(Database::create(file).map_err(failed)?),
        };
        opened.write(|changes| {
            for table in tables.iter().chain([&META]) {
                changes.0.open_table(*table).map_err(failed)?;
            }
            Ok(())
        })?;
        match opened.get::<I>(META, IDENTITY)? {
            None => opened.put(META, IDENTITY, identity)?,
            Some(found) if found != *identity => {
                return Err(TableError::Identity {
                    expected: identity.to_string(),
                    found: found.to_string(),
                });
            }
            Some(_) => {}
        }
        Ok(opened)
    }

    /// A row.
    pub fn get<T: DeserializeOwned>(&self, table: Table, key: &[u8]) -> Result<Option<T>, TableError> {
        self.bytes(table, key)?.map(|bytes| parse(table, &bytes)).transpose()
    }

    /// A row that is no JSON.
    pub fn bytes(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, TableError> {
        let transaction = self.database.begin_read().map_err(failed)?;
        let rows = transaction.open_table(table).map_err(failed)?;
        Ok(rows.get(key).map_err(failed)?.map(|row| row.value().to_vec()))
    }

    /// A row that is a tensor. Whether its parts fit each other is for the caller to see.
    pub fn tensor(&self, table: Table, key: &[u8]) -> Result<Option<Tensor>, TableError> {
        let row = self.bytes(table, key)?;
        row.map(|row| decode_tensor(&row).map_err(|what| corrupt(table, what)))
            .transpose()
    }

    /// All rows of a table, by key.
    pub fn all<T: DeserializeOwned>(&self, table: Table) -> Result<Vec<T>, TableError> {
        self.rows(table)?.iter().map(|(_, row)| parse(table, row)).collect()
    }

    /// All rows of a table with their keys, as bytes.
    pub fn rows(&self, table: Table) -> Result<Vec<Row>, TableError> {
        let transaction = self.database.begin_read().map_err(failed)?;
        let rows = transaction.open_table(table).map_err(failed)?;
        rows.iter()
            .map_err(failed)?
            .map(|row| {
                let (key, row) = row.map_err(failed)?;
                Ok((key.value().to_vec(), row.value().to_vec()))
            })
            .collect()
    }

    /// Adds or replaces a row.
    pub fn put<T: Serialize>(&self, table: Table, key: &[u8], row: &T) -> Result<(), TableError> {
        self.write(|changes| changes.put(table, key, row))
    }

    /// Removes a row; one that is not there is removed.
    pub fn delete(&self, table: Table, key: &[u8]) -> Result<(), TableError> {
        self.write(|changes| changes.delete(table, key))
    }

    /// Changes a row, if there is one.
    pub fn update<T: Serialize + DeserializeOwned>(
        &self,
        table: Table,
        key: &[u8],
        change: impl FnOnce(&mut T),
    ) -> Result<(), TableError> {
        self.write(|changes| {
            let Some(mut row) = changes.get(table, key)? else {
                return Ok(());
            };
            change(&mut row);
            changes.put(table, key, &row)
        })
    }

    /// Makes changes at once: all of them, or on an error none.
    pub fn write<T>(&self, act: impl FnOnce(&Changes) -> Result<T, TableError>) -> Result<T, TableError> {
        let changes = Changes(self.database.begin_write().map_err(failed)?);
        let done = act(&changes)?;
        changes.0.commit().map_err(failed)?;
        Ok(done)
    }
}

/// Changes that become durable together.
pub struct Changes(WriteTransaction);

impl Changes {
    /// A row as it is now.
    pub fn get<T: DeserializeOwned>(&self, table: Table, key: &[u8]) -> Result<Option<T>, TableError> {
        let rows = self.0.open_table(table).map_err(failed)?;
        let row = rows.get(key).map_err(failed)?;
        row.map(|row| parse(table, row.value())).transpose()
    }

    /// Adds or replaces a row.
    pub fn put<T: Serialize>(&self, table: Table, key: &[u8], row: &T) -> Result<(), TableError> {
        let row = serde_json::to_vec(row).map_err(|error| corrupt(table, error))?;
        self.put_bytes(table, key, &row)
    }

    /// Adds or replaces a row that is no JSON.
    pub fn put_bytes(&self, table: Table, key: &[u8], row: &[u8]) -> Result<(), TableError> {
        let mut rows = self.0.open_table(table).map_err(failed)?;
        rows.insert(key, row).map_err(failed)?;
        Ok(())
    }

    /// Adds or replaces a row that is a tensor.
    pub fn put_tensor(
        &self,
        table: Table,
        key: &[u8],
        dtype: Dtype,
        dims: &[u32],
        bytes: &[u8],
    ) -> Result<(), TableError> {
        let rank = u8::try_from(dims.len()).map_err(|error| corrupt(table, error))?;
        // `u8 dtype ‖ u8 rank ‖ u32 dim × rank ‖ bytes`
        let mut row = vec![dtype as u8, rank];
        dims.iter().for_each(|dim| row.extend(dim.to_be_bytes()));
        row.extend_from_slice(bytes);
        self.put_bytes(table, key, &row)
    }

    /// Removes a row; one that is not there is removed.
    pub fn delete(&self, table: Table, key: &[u8]) -> Result<(), TableError> {
        let mut rows = self.0.open_table(table).map_err(failed)?;
        rows.remove(key).map_err(failed)?;
        Ok(())
    }

    /// Removes the rows for which `keep`, given key and row, says no.
    pub fn retain(&self, table: Table, keep: impl FnMut(&[u8], &[u8]) -> bool) -> Result<(), TableError> {
        let mut rows = self.0.open_table(table).map_err(failed)?;
        rows.retain(keep).map_err(failed)
    }
}

/// A row that does not read.
pub fn corrupt(table: Table, what: impl Display) -> TableError {
    TableError::Corrupt {
        table: redb::TableHandle::name(&table).to_owned(),
        what: what.to_string(),
    }
}

fn failed(error: impl Into<redb::Error>) -> TableError {
    TableError::Database(Box::new(error.into()))
}

fn parse<T: DeserializeOwned>(table: Table, bytes: &[u8]) -> Result<T, TableError> {
    serde_json::from_slice(bytes).map_err(|error| corrupt(table, error))
}

fn decode_tensor(row: &[u8]) -> Result<Tensor, String> {
    let [code, rank, rest @ ..] = row else {
        return Err("no header".to_owned());
    };
    let dtype = Dtype::from_code(*code).ok_or_else(|| format!("dtype {code}"))?;
    let (dims, bytes) = rest.split_at_checked(4 * usize::from(*rank)).ok_or("no shape")?;
    let dims = dims.as_chunks::<4>().0.iter().map(|dim| u32::from_be_bytes(*dim));
    Ok((dtype, dims.collect(), bytes.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: Table = TableDefinition::new("rows");

    fn open(folder: &tempfile::TempDir, identity: &str) -> Result<Tables, TableError> {
        Tables::open(&folder.path().join("in/here.redb"), &[ROWS], &identity.to_owned())
    }

    #[test]
    fn what_was_written_is_there_after_reopening_for_the_same_identity_alone() {
        let folder = tempfile::tempdir().unwrap();
        let tables = open(&folder, "me").unwrap();
        tables.put(ROWS, b"b", &2).unwrap();
        tables.put(ROWS, b"a", &1).unwrap();
        drop(tables);
        let error = open(&folder, "another").unwrap_err();
        assert_eq!(error.to_string(), "store: belongs to me, this is another");
        let tables = open(&folder, "me").unwrap();
        assert_eq!(tables.all::<u8>(ROWS).unwrap(), [1, 2]);
        tables.update(ROWS, b"a", |row: &mut u8| *row = 3).unwrap();
        tables.update(ROWS, b"c", |row: &mut u8| *row = 3).unwrap();
        tables.delete(ROWS, b"b").unwrap();
        assert_eq!(tables.rows(ROWS).unwrap(), [(b"a".to_vec(), b"3".to_vec())]);
    }

    #[test]
    fn changes_are_made_together_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let tables = open(&folder, "me").unwrap();
        tables.put(ROWS, b"a", &1).unwrap();
        let failed = tables.write(|changes| {
            changes.put(ROWS, b"b", &2)?;
            changes.retain(ROWS, |key, _| key != b"a")?;
            Err::<(), _>(corrupt(ROWS, "on purpose"))
        });
        assert_eq!(
            failed.unwrap_err().to_string(),
            "store: row of rows does not read: on purpose"
        );
        assert_eq!(tables.all::<u8>(ROWS).unwrap(), [1]);
        tables
            .write(|changes| changes.put_bytes(ROWS, b"a", b"no json"))
            .unwrap();
        assert!(matches!(tables.get::<u8>(ROWS, b"a"), Err(TableError::Corrupt { .. })));
    }
    #[test]
    fn a_tensor_is_read_back_and_half_a_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let tables = open(&folder, "me").unwrap();
        tables
            .write(|changes| changes.put_tensor(ROWS, b"a", Dtype::I32, &[1, 2], &[9; 8]))
            .unwrap();
        let read = tables.tensor(ROWS, b"a").unwrap();
        assert_eq!(read, Some((Dtype::I32, vec![1, 2], vec![9; 8])));
        for row in [&[6u8][..], &[6, 1, 0, 0, 0], &[99, 0]] {
            tables.write(|changes| changes.put_bytes(ROWS, b"a", row)).unwrap();
            assert!(
                matches!(tables.tensor(ROWS, b"a"), Err(TableError::Corrupt { .. })),
                "{row:?}"
            );
        }
    }
}
