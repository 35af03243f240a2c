//! Stands between the client and the engine, and lets answers go wrong in the ways that networks and servers do.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What becomes of one request.
#[derive(Debug, Clone)]
pub(crate) enum Fate {
    /// It reaches the engine, and the answer comes back.
    Pass,
    /// This answer comes, and the engine hears nothing.
    Answer {
        status: u16,
        headers: &'static str,
        body: String,
    },
    /// The answer breaks off after this part of a hundred.
    Cut(usize),
    /// The answer stops after this part of a hundred, and the connection stays.
    Hang(usize),
    /// No answer comes, and the connection stays.
    Stall,
}

impl Fate {
    /// An answer of the API that refuses.
    pub(crate) fn refuse(status: u16, code: i64, message: &str) -> Self {
        let errors = serde_json::json!([{ "code": code, "message": message }]);
        let body = serde_json::json!({ "success": false, "errors": errors, "messages": [], "result": null });
        Self::Answer {
            status,
            headers: "",
            body: body.to_string(),
        }
    }
}

/// One request, as the rule sees it.
pub(crate) struct Seen {
    /// How many came before.
    pub(crate) index: usize,
    /// `POST /accounts/…/raw`.
    pub(crate) line: String,
    pub(crate) body: String,
}

impl Seen {
    /// Whether it asks for the rows of this table.
    pub(crate) fn reads_rows_of(&self, table: &str) -> bool {
        self.body.contains("'t'||")
            && self.body.contains(&format!("FROM \\\"{table}\\\""))
            && !self.body.contains("count(*),")
    }
}

type Rule = dyn FnMut(&Seen) -> Fate + Send;

/// A proxy on loopback; ends when dropped.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    ended: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Forwards to `engine_port` as `rule` says.
    pub(crate) fn start(
        engine_port: u16,
        rule: impl FnMut(&Seen) -> Fate + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let ended = Arc::new(AtomicBool::new(false));
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let rule: Arc<Mutex<Box<Rule>>> = Arc::new(Mutex::new(Box::new(rule)));
        let (proxy_ended, proxy_seen) = (ended.clone(), seen.clone());
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let (rule, seen, ended) = (rule.clone(), seen.clone(), ended.clone());
                std::thread::spawn(move || {
                    // A connection that breaks here is one the client gave up.
                    let _ = serve(connection?, engine_port, &rule, &seen, &ended);
                    io::Result::Ok(())
                });
            }
        });
        Self {
            port,
            ended: proxy_ended,
            seen: proxy_seen,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The bodies of all requests so far.
    pub(crate) fn bodies(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for a connection.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(
    mut client: TcpStream,
    engine_port: u16,
    rule: &Mutex<Box<Rule>>,
    seen: &Mutex<Vec<String>>,
    ended: &AtomicBool,
) -> io::Result<()> {
    let (head, body) = read_request(&mut client)?;
    let mut rule = rule.lock().unwrap();
    let request = {
        let mut seen = seen.lock().unwrap();
        seen.push(body.clone());
        Seen {
            index: seen.len() - 1,
            line: head.lines().next().unwrap_or_default().to_owned(),
            body,
        }
    };
    let fate = (*rule)(&request);
    drop(rule);
    match fate {
        Fate::Pass => client.write_all(&forward(engine_port, &head, &request.body)?)?,
        Fate::Cut(percent) => {
            let answer = forward(engine_port, &head, &request.body)?;
            client.write_all(&answer[..answer.len() * percent / 100])?;
        }
        Fate::Answer {
            status,
            headers,
            body,
        } => {
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n"
            );
            client.write_all(head.as_bytes())?;
            client.write_all(body.as_bytes())?;
        }
        Fate::Hang(percent) => {
            let answer = forward(engine_port, &head, &request.body)?;
            client.write_all(&answer[..answer.len() * percent / 100])?;
            hold(ended);
        }
        Fate::Stall => hold(ended),
    }
    client.shutdown(Shutdown::Both)
}

/// Keeps the connection for as long as the proxy is there.
fn hold(ended: &AtomicBool) {
    while !ended.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn read_request(client: &mut TcpStream) -> io::Result<(String, String)> {
    let mut bytes = Vec::new();
    let mut block = [0; 16 * 1024];
    loop {
        let count = client.read(&mut block)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&block[..count]);
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                line.to_lowercase()
                    .strip_prefix("content-length: ")?
                    .parse()
                    .ok()
            });
            if body.len() >= length.unwrap_or(0) {
                return Ok((head.to_owned(), body.to_owned()));
            }
        }
    }
}

/// The engine's whole answer, head and all.
fn forward(port: u16, head: &str, body: &str) -> io::Result<Vec<u8>> {
    let mut engine = TcpStream::connect(("127.0.0.1", port))?;
    write!(engine, "{head}\r\nconnection: close\r\n\r\n{body}")?;
    let mut answer = Vec::new();
    engine.read_to_end(&mut answer)?;
    Ok(answer)
}
