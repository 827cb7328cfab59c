//! Stands between a client and a server of objects, and spoils what passes, as a test wants it.
//!
//! Never keeps a connection: each carries one request.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Passes,
    /// It does not come to the server, which is said to have answered this.
    Refused(u16),
    /// Something in front of the server does not know it.
    NotFoundInFront,
    /// The connection ends within the request.
    CutOnTheWay,
    /// The server does it, and the answer is lost.
    AnswerLost,
    /// The connection ends within the answer.
    AnswerCut,
    /// One bit of what an object holds is another one.
    BitFlipped,
    /// It takes a moment.
    Slow,
}

/// A request, as far as its fate may depend on it.
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    /// With what follows a question mark.
    pub(crate) path: &'a str,
    /// How many came before.
    pub(crate) number: u64,
}

impl Asked<'_> {
    /// Not a listing, whose every byte would have to be doubted.
    fn is_of_object(&self) -> bool {
        self.method == "GET" && !self.path.contains("list-type")
    }
}

pub(crate) struct Relay {
    pub(crate) authority: String,
    ended: Arc<AtomicBool>,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(&self.authority));
    }
}

impl Relay {
    /// So many of hundred requests are spoiled, in an order that is the same each time.
    pub(crate) fn spoiling(server: &str, of_hundred: u64, fates: &'static [Fate]) -> Self {
        Self::before(server, move |asked| {
            let mixed = asked.number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33;
            let chosen = usize::try_from(mixed / 100).unwrap() % fates.len();
            if mixed % 100 < of_hundred { fates[chosen] } else { Fate::Passes }
        })
    }

    pub(crate) fn before(
        server: &str,
        fate: impl Fn(&Asked<'_>) -> Fate + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let ended = Arc::new(AtomicBool::new(false));
        let (server, fate, number) = (server.to_owned(), Arc::new(fate), AtomicU64::new(0));
        let is_over = Arc::clone(&ended);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let (server, fate) = (server.clone(), Arc::clone(&fate));
                let number = number.fetch_add(1, Ordering::Relaxed);
                std::thread::spawn(move || {
                    // Whoever is cut off has to cope, on either side.
                    drop(carry(client.unwrap(), &server, number, &*fate));
                });
            }
        });
        Self { authority, ended }
    }
}

fn carry(
    mut client: TcpStream,
    server: &str,
    number: u64,
    fate: &dyn Fn(&Asked<'_>) -> Fate,
) -> std::io::Result<()> {
    client.set_read_timeout(Some(Duration::from_mins(1)))?;
    let Some((head, mut body)) = head(&mut client)? else { return Ok(()) };
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let asked = Asked { method, path, number };
    let fate = fate(&asked);
    let length = length(&head);
    match fate {
        Fate::Refused(status) => {
            rest(&mut client, &mut body, length)?;
            let said =
                "<Error><Code>Injected</Code><Message>as the test wants it</Message></Error>";
            return answer(&mut client, status, said);
        }
        Fate::NotFoundInFront => {
            rest(&mut client, &mut body, length)?;
            return answer(&mut client, 404, "404 page not found");
        }
        Fate::CutOnTheWay => {
            rest(&mut client, &mut body, length / 2)?;
            return client.shutdown(Shutdown::Both);
        }
        Fate::Slow => std::thread::sleep(Duration::from_millis(300)),
        Fate::Passes | Fate::AnswerLost | Fate::AnswerCut | Fate::BitFlipped => {}
    }
    rest(&mut client, &mut body, length)?;
    let mut upstream = TcpStream::connect(server)?;
    upstream.set_read_timeout(Some(Duration::from_mins(1)))?;
    upstream.write_all(single(&head).as_bytes())?;
    upstream.write_all(&body)?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer)?;
    let begin = answer.windows(4).position(|end| end == b"\r\n\r\n").map_or(0, |end| end + 4);
    match fate {
        Fate::AnswerLost => answer.clear(),
        Fate::AnswerCut => answer.truncate(begin + (answer.len() - begin) / 2),
        Fate::BitFlipped if asked.is_of_object() && begin < answer.len() => {
            let spread = usize::try_from(number.wrapping_mul(0x9E37_79B9) % (1 << 40)).unwrap();
            let at = begin + spread % (answer.len() - begin);
            answer[at] ^= 1 << (number % 8);
        }
        _ => {}
    }
    client.write_all(&answer)?;
    client.shutdown(Shutdown::Both)
}

/// Until the empty line, and what came with it.
fn head(client: &mut TcpStream) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let mut all = Vec::new();
    let mut block = [0; 1 << 14];
    loop {
        if let Some(end) = all.windows(4).position(|end| end == b"\r\n\r\n") {
            let body = all.split_off(end + 4);
            return Ok(Some((String::from_utf8(all).unwrap(), body)));
        }
        assert!(all.len() < 1 << 20, "an endless head");
        match client.read(&mut block)? {
            0 => return Ok(None),
            length => all.extend_from_slice(&block[..length]),
        }
    }
}

fn length(head: &str) -> usize {
    let named = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap())
    };
    head.lines().find_map(named).unwrap_or(0)
}

fn rest(client: &mut TcpStream, body: &mut Vec<u8>, length: usize) -> std::io::Result<()> {
    let from = body.len();
    if from < length {
        body.resize(length, 0);
        client.read_exact(&mut body[from..])?;
    }
    Ok(())
}

/// The server ends the connection after it, and the client is told.
fn single(head: &str) -> String {
    let is_ours = |line: &&str| !line.to_ascii_lowercase().starts_with("connection:");
    let lines: Vec<&str> = head.trim_end().split("\r\n").filter(is_ours).collect();
    lines.join("\r\n") + "\r\nConnection: close\r\n\r\n"
}

fn answer(client: &mut TcpStream, status: u16, said: &str) -> std::io::Result<()> {
    let length = said.len();
    let head = format!(
        "HTTP/1.1 {status} As-Asked\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{said}"
    );
    client.write_all(head.as_bytes())?;
    client.shutdown(Shutdown::Both)
}
