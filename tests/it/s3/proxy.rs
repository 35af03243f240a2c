//! Stands between a client and the S3 server and breaks what it is told to. Invariant: what no plan names passes
//! unchanged.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Op {
    Put,
    Get,
    Head,
    Delete,
    List,
    Begin,
    Part,
    Complete,
    Abort,
    Uploads,
}

/// What goes wrong with a request.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// It reaches the server late.
    Delay(Duration),
    /// Nobody answers.
    Hang,
    /// The server sees so much of it, then the line is reset.
    CutRequest { percent: usize },
    /// The server does it, and the answer is lost.
    LoseAnswer,
    /// So much of the answer's body arrives, then the line is reset.
    CutAnswer { percent: usize },
    /// One bit of the answer's body is turned.
    FlipAnswer { at: usize },
    /// The server never sees it; this is answered.
    Answer { status: u16, body: String },
    /// The server does it; this is answered instead.
    Instead { status: u16, body: String },
}

impl Fault {
    /// The answer that S3 gives to a request that it refuses.
    pub(crate) fn refuse(status: u16, code: &str) -> Self {
        let body = error_body(code);
        Self::Answer { status, body }
    }
}

pub(crate) fn error_body(code: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
         <Message>planned</Message></Error>"
    )
}

/// One request, read whole.
pub(crate) struct Request {
    pub(crate) op: Op,
    /// The request line and the headers, with the empty line.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The value of a header, whose name is given in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Path and query.
    pub(crate) fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }
}

/// Looks at each request before it is sent on, and at each answer's status after.
pub(crate) trait Rules: Send + Sync {
    fn before(&self, request: &Request) -> Option<Fault>;
    fn after(&self, _request: &Request, _status: u16) {}
}

/// Faults by operation and number.
#[derive(Default)]
pub(crate) struct Plan {
    seen: Mutex<BTreeMap<Op, usize>>,
    planned: Mutex<BTreeMap<(Op, usize), Fault>>,
    always: Mutex<BTreeMap<Op, Fault>>,
}

impl Plan {
    /// Breaks the operations of this kind with these numbers, counted from 1 from now on.
    pub(crate) fn break_at(&self, op: Op, numbers: impl IntoIterator<Item = usize>, fault: &Fault) {
        self.seen.lock().unwrap().remove(&op);
        let mut planned = self.planned.lock().unwrap();
        planned.extend(
            numbers
                .into_iter()
                .map(|number| ((op, number), fault.clone())),
        );
    }

    pub(crate) fn always(&self, op: Op, fault: Fault) {
        self.always.lock().unwrap().insert(op, fault);
    }

    pub(crate) fn heal(&self) {
        self.planned.lock().unwrap().clear();
        self.always.lock().unwrap().clear();
    }

    /// How many requests of this kind there were.
    pub(crate) fn seen(&self, op: Op) -> usize {
        self.seen.lock().unwrap().get(&op).copied().unwrap_or(0)
    }
}

impl Rules for Plan {
    fn before(&self, request: &Request) -> Option<Fault> {
        let mut seen = self.seen.lock().unwrap();
        let number = seen.entry(request.op).or_default();
        *number += 1;
        let planned = self.planned.lock().unwrap().remove(&(request.op, *number));
        planned.or_else(|| self.always.lock().unwrap().get(&request.op).cloned())
    }
}

/// A proxy that works until it is dropped.
pub(crate) struct Proxy {
    pub(crate) endpoint: String,
    listening: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(upstream: u16, rules: Arc<dyn Rules>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let rules = Arc::clone(&rules);
                // What breaks here breaks for the client too, which is who tells.
                tokio::spawn(async move { serve(client, upstream, &*rules).await });
            }
        });
        Self {
            endpoint,
            listening,
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// Serves one request; the connection is closed after it.
async fn serve(mut client: TcpStream, upstream: u16, rules: &dyn Rules) -> io::Result<()> {
    let Some(request) = read_request(&mut client).await? else {
        return Ok(());
    };
    let fault = rules.before(&request);
    match &fault {
        Some(Fault::Delay(duration)) => tokio::time::sleep(*duration).await,
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::CutRequest { percent }) => {
            let mut server = TcpStream::connect(("127.0.0.1", upstream)).await?;
            let sent = request.body.len() * percent / 100;
            server.write_all(request.head.as_bytes()).await?;
            server.write_all(&request.body[..sent]).await?;
            return reset(client);
        }
        Some(Fault::Answer { status, body }) => return answer(client, *status, body).await,
        _ => {}
    }
    let mut reply = forward(&request, upstream).await?;
    rules.after(&request, status_of(&reply));
    let body_at = head_end(&reply).unwrap_or(reply.len());
    let body_bytes = reply.len() - body_at;
    match fault {
        Some(Fault::LoseAnswer) => return reset(client),
        Some(Fault::CutAnswer { percent }) => {
            let sent = body_at + body_bytes * percent / 100;
            client.write_all(&reply[..sent]).await?;
            // A reset overtakes bytes that still wait to be read.
            tokio::time::sleep(Duration::from_millis(20)).await;
            return reset(client);
        }
        Some(Fault::FlipAnswer { at }) => reply[body_at + at] ^= 1,
        Some(Fault::Instead { status, body }) => return answer(client, status, &body).await,
        _ => {}
    }
    client.write_all(&reply).await?;
    client.shutdown().await
}

async fn read_request(client: &mut TcpStream) -> io::Result<Option<Request>> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = head_end(&bytes) {
            break end;
        }
        if client.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let body = bytes.split_off(end);
    let head = String::from_utf8(bytes).map_err(io::Error::other)?;
    let op = op_of(&head);
    let mut request = Request { op, head, body };
    let length = request.header("content-length").unwrap_or("0");
    let length: usize = length.parse().map_err(io::Error::other)?;
    if request.header("expect").is_some() {
        client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    while request.body.len() < length {
        if client.read_buf(&mut request.body).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(request))
}

/// Sends the request on and gives the whole answer, without interim ones.
async fn forward(request: &Request, upstream: u16) -> io::Result<Vec<u8>> {
    let mut server = TcpStream::connect(("127.0.0.1", upstream)).await?;
    let (line, headers) = request.head.split_once("\r\n").unwrap_or_default();
    let kept = headers.split_inclusive("\r\n").filter(|header| {
        let header = header.to_ascii_lowercase();
        !header.starts_with("connection:") && !header.starts_with("expect:")
    });
    let head = format!(
        "{line}\r\nConnection: close\r\n{}",
        kept.collect::<String>()
    );
    server.write_all(head.as_bytes()).await?;
    server.write_all(&request.body).await?;
    let mut reply = Vec::new();
    server.read_to_end(&mut reply).await?;
    while reply.starts_with(b"HTTP/1.1 1") {
        let end = head_end(&reply).unwrap_or(reply.len());
        reply.drain(..end);
    }
    Ok(reply)
}

async fn answer(mut client: TcpStream, status: u16, body: &str) -> io::Result<()> {
    let text = format!(
        "HTTP/1.1 {status} Planned\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    client.write_all(text.as_bytes()).await?;
    client.shutdown().await
}

fn reset(client: TcpStream) -> io::Result<()> {
    client.set_zero_linger()
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    let at = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(at + 4)
}

fn status_of(reply: &[u8]) -> u16 {
    let status = reply.get(9..12).unwrap_or_default();
    String::from_utf8_lossy(status).parse().unwrap_or(0)
}

fn op_of(head: &str) -> Op {
    let mut words = head.split(' ');
    let (method, target) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let has = |name: &str| {
        let mut names = query.split('&').map(|pair| pair.split('=').next());
        names.any(|found| found == Some(name))
    };
    match method {
        "PUT" if has("partNumber") => Op::Part,
        "PUT" => Op::Put,
        "HEAD" => Op::Head,
        "POST" if has("uploads") => Op::Begin,
        "POST" => Op::Complete,
        "DELETE" if has("uploadId") => Op::Abort,
        "DELETE" => Op::Delete,
        _ if has("uploads") => Op::Uploads,
        _ if has("list-type") => Op::List,
        _ => Op::Get,
    }
}
