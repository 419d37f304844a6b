//! The statements of each collection's table.

use std::fmt::Write as _;
use std::sync::LazyLock;

use oscillink_ports::Collection;

/// Statements that do not depend on what changes.
pub(super) struct Table {
    /// `(id) -> body`.
    pub(super) read_body: String,
    /// `(id) -> rowid, body`.
    pub(super) read_row: String,
    /// `(id, body, fields…)`.
    pub(super) insert: String,
    /// `(rowid)`.
    pub(super) delete: String,
}

static TABLES: LazyLock<Vec<(Collection, Table)>> = LazyLock::new(|| {
    Collection::ALL
        .into_iter()
        .map(|collection| (collection, Table::new(collection)))
        .collect()
});

/// The statements of `collection`.
pub(super) fn of(collection: Collection) -> &'static Table {
    let found = TABLES.iter().find(|(name, _)| *name == collection);
    // Invariant: the list is made of every collection.
    &found.expect("every collection has a table").1
}

impl Table {
    fn new(collection: Collection) -> Self {
        let table = name(collection);
        let fields = collection.indexed_fields();
        let columns: String = fields.iter().map(|f| format!(", f_{f}")).collect();
        let marks: String = fields.iter().map(|_| ", ?").collect();
        Self {
            read_body: format!("SELECT body FROM {table} WHERE id = ?"),
            read_row: format!("SELECT rowid, body FROM {table} WHERE id = ?"),
            insert: format!("INSERT INTO {table} (id, body{columns}) VALUES (?, ?{marks})"),
            delete: format!("DELETE FROM {table} WHERE rowid = ?"),
        }
    }
}

/// `(body, changed fields…, rowid)`. Columns that keep their value are left out: naming one would
/// have SQLite rewrite every index that contains it.
pub(super) fn update(collection: Collection, changed: &[&str]) -> String {
    let mut sql = format!("UPDATE {} SET body = ?", name(collection));
    for field in changed {
        let _ = write!(sql, ", f_{field} = ?");
    }
    sql.push_str(" WHERE rowid = ?");
    sql
}

/// The collection's table.
pub(super) fn name(collection: Collection) -> String {
    format!("doc_{}", collection.as_str())
}

/// The name of the collection's composite index number `n`.
pub(super) fn index_name(collection: Collection, n: usize) -> String {
    format!("doc_{}_{n}", collection.as_str())
}

/// The statements that make all tables.
pub(crate) fn create_tables() -> String {
    let mut sql = String::new();
    for collection in Collection::ALL {
        let table = name(collection);
        let columns: String = collection
            .indexed_fields()
            .iter()
            .map(|f| format!(", f_{f}"))
            .collect();
        let _ = writeln!(
            sql,
            "CREATE TABLE {table} (id TEXT NOT NULL PRIMARY KEY, body TEXT NOT NULL{columns});"
        );
        for (n, fields) in collection.composite_indexes().iter().enumerate() {
            let columns: String = fields.iter().map(|f| format!("f_{f}, ")).collect();
            let _ = writeln!(
                sql,
                "CREATE INDEX {} ON {table} ({columns}id);",
                index_name(collection, n)
            );
        }
    }
    sql
}
