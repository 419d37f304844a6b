//! Where the all-in-one server keeps its data, and the key it makes for development.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use oscillink_domain::ApiKey;
use oscillink_domain::id::base62;
use secrecy::SecretString;

/// Name of the file with the development key.
const DEV_KEY_FILE: &str = "dev-key";
/// Name of the file with the secret that callback secrets are derived from.
const CALLBACK_SECRET_FILE: &str = "callback-secret";

/// `--data-dir` or its default: `$XDG_DATA_HOME/oscillink`, else `~/.local/share/oscillink`, else
/// `oscillink-data` here.
pub fn resolve(given: Option<PathBuf>) -> PathBuf {
    let var = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    given
        .or_else(|| var("XDG_DATA_HOME").map(|base| PathBuf::from(base).join("oscillink")))
        .or_else(|| var("HOME").map(|home| PathBuf::from(home).join(".local/share/oscillink")))
        .unwrap_or_else(|| PathBuf::from("oscillink-data"))
}

/// The file that keeps the development key of `dir`.
pub fn dev_key_path(dir: &Path) -> PathBuf {
    dir.join(DEV_KEY_FILE)
}

/// The development key kept in `dir`, if there is one.
pub fn dev_key(dir: &Path) -> Option<ApiKey> {
    let text = fs::read_to_string(dev_key_path(dir)).ok()?;
    ApiKey::parse(text.trim())
}

/// Keeps the development key in `dir`, readable by its owner only from the first moment on.
pub fn keep_dev_key(dir: &Path, key: &ApiKey) -> io::Result<PathBuf> {
    let path = dev_key_path(dir);
    keep_secret(&path, key.reveal())?;
    Ok(path)
}

/// The secret that callback secrets are derived from in `dir`, made at first with `random`.
pub fn callback_secret(dir: &Path, random: [u8; 32]) -> io::Result<SecretString> {
    let path = dir.join(CALLBACK_SECRET_FILE);
    match fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => return Ok(SecretString::from(text.trim())),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let fresh = base62(&random);
    keep_secret(&path, &fresh)?;
    Ok(SecretString::from(fresh))
}

/// Writes a secret that is there whole or not at all.
fn keep_secret(path: &Path, secret: &str) -> io::Result<()> {
    let fresh = path.with_extension("tmp");
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    // A leftover of a start that was cut short.
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = options.open(&fresh)?;
    writeln!(file, "{secret}")?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_kept_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        assert!(dev_key(dir.path()).is_none());
        let key = ApiKey::from_random([7; 32]);
        fs::write(dir.path().join("dev-key.tmp"), "left over").unwrap();
        let path = keep_dev_key(dir.path(), &key).unwrap();
        assert_eq!(dev_key(dir.path()).unwrap().hash(), key.hash());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(
                fs::metadata(path).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
    }

    #[test]
    fn the_callback_secret_is_made_once() {
        use secrecy::ExposeSecret as _;
        let dir = tempfile::tempdir().unwrap();
        let first = callback_secret(dir.path(), [1; 32]).unwrap();
        let again = callback_secret(dir.path(), [2; 32]).unwrap();
        assert_eq!(first.expose_secret(), again.expose_secret());
        assert!(first.expose_secret().len() >= 32);
    }
}
