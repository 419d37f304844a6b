//! A clock that can be put off for one process, by libfaketime.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Where distributions put the library.
const PLACES: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
];

/// A clock in a file.
pub(super) struct FakeTime {
    library: PathBuf,
    file: PathBuf,
}

impl FakeTime {
    pub(super) fn new(file: &Path) -> anyhow::Result<Self> {
        let library = PLACES
            .iter()
            .map(PathBuf::from)
            .find(|place| place.exists());
        let clock = Self {
            library: library.context("clock-skew needs libfaketime (package faketime)")?,
            file: file.to_owned(),
        };
        clock.set(0.0)?;
        Ok(clock)
    }

    pub(super) fn set(&self, offset_s: f64) -> anyhow::Result<()> {
        std::fs::write(&self.file, format!("{offset_s:+}\n")).context("the clock's file")
    }

    pub(super) fn variables(&self) -> [(&'static str, PathBuf); 4] {
        [
            ("LD_PRELOAD", self.library.clone()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.clone()),
            ("FAKETIME_NO_CACHE", "1".into()),
            // Only the time of day goes wrong on real machines, not the time between two events.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ]
    }
}
