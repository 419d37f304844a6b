//! The tables, and the version that says which of them a file has.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use crate::embedded::error::EmbeddedError;
use crate::embedded::{bus, queue, store};

/// Version of the tables made here. A change of any table raises it and adds a step below.
const VERSION: i64 = 1;

/// Makes the tables in a new file; refuses a file from a newer program.
pub(super) fn bring_up_to_date(connection: &Connection, path: &Path) -> Result<(), EmbeddedError> {
    if version_of(connection)? == VERSION {
        return Ok(());
    }
    // Another process may be doing the same: look again once the file is ours.
    let transaction =
        rusqlite::Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let found = version_of(&transaction)?;
    if found > VERSION {
        return Err(EmbeddedError::NewerSchema {
            path: path.to_owned(),
            found,
            known: VERSION,
        });
    }
    if found < 1 {
        transaction.execute_batch(&store::create_tables())?;
        transaction.execute_batch(&queue::create_tables())?;
        transaction.execute_batch(bus::CREATE_TABLES)?;
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(())
}

fn version_of(connection: &Connection) -> Result<i64, EmbeddedError> {
    Ok(connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
}
