//! The first minute with `serve` on a terminal: the line it prints to paste works.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::Value;

/// Runs `serve` on a pseudo-terminal, gives what it said up to its last line, pastes the `curl` line
/// into a shell, and ends the server as Ctrl-C does.
const SESSION: &str = r"
import json, os, pty, re, signal, subprocess, sys, time
binary, folder, shim = sys.argv[1:]
environment = {'OSCILLINK_DATA_DIR': folder, 'TERM': 'xterm', 'OSCILLINK_LOG': 'error'}
pid, terminal = pty.fork()
if pid == 0:
    os.execve(binary, [binary, 'serve', '--port', '0'], environment)
said = b''
while b'Ctrl-C' not in said:
    said += os.read(terminal, 65536)
text = re.sub(r'\x1b\[[0-9;]*m', '', said.decode()).replace('\r', '')
line = next(line for line in text.splitlines() if line.strip().startswith('curl'))
path = shim + os.pathsep + os.environ['PATH']
pasted = subprocess.run(['sh', '-c', line], env={'PATH': path}, capture_output=True, text=True)
os.kill(pid, signal.SIGINT)
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
json.dump({'said': text, 'answer': pasted.stdout, 'complaint': pasted.stderr, 'code': code}, sys.stdout)
";

/// A `curl` that knows the flags of the line, for machines without one.
const CURL: &str = r"#!/usr/bin/env python3
import sys, urllib.request
arguments, headers, body, url = sys.argv[1:], {}, None, None
while arguments:
    argument = arguments.pop(0)
    if argument == '-H':
        name, value = arguments.pop(0).split(': ', 1)
        headers[name] = value
    elif argument == '-d':
        body = arguments.pop(0).encode()
    elif argument != '-s':
        url = argument
sys.stdout.write(urllib.request.urlopen(urllib.request.Request(url, body, headers)).read().decode())
";

#[test]
fn the_line_that_serve_prints_works_when_pasted() {
    let folder = tempfile::tempdir().unwrap();
    let shim = folder.path().join("bin");
    fs::create_dir(&shim).unwrap();
    fs::write(shim.join("curl"), CURL).unwrap();
    fs::set_permissions(shim.join("curl"), fs::Permissions::from_mode(0o755)).unwrap();
    // A folder whose name a shell would take apart.
    let data = folder.path().join("my data");
    let session = || {
        let output = Command::new("python3")
            .args(["-c", SESSION, env!("CARGO_BIN_EXE_oscillink")])
            .args([&data, &shim])
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{error}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let (first, second) = (session(), session());
    for told in [&first, &second] {
        let answer: Value = serde_json::from_str(told["answer"].as_str().unwrap())
            .unwrap_or_else(|error| panic!("{error}: {told}"));
        assert_eq!(answer["bundle"].as_array().unwrap().len(), 2);
        assert_eq!(told["code"], 0);
    }
    let key = fs::read_to_string(data.join("dev-key")).unwrap();
    let shows = |told: &Value| told["said"].as_str().unwrap().contains(key.trim());
    assert!(shows(&first) && !shows(&second), "the key is shown once");
    let mode = fs::metadata(data.join("dev-key"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}
