//! Pages for programs that are not ours: anybody is answered, in the clear, and nobody holds them up.
//!
//! Never asked by our own client.

use super::fixtures::{ANYWHERE, PATIENCE, Running, instance};
use pgherd_agent::http::refusal::Refusal;
use pgherd_agent::http::routes::{Page, Routes};
use pgherd_agent::http::server::{Bounds, Server};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

async fn server(bounds: Bounds) -> Running {
    let server = Server::plain(ANYWHERE, bounds).await.unwrap();
    let address = server.address().unwrap();
    let routes = Routes::default().page("/page", || {
        let page = Page { kind: "text/plain", text: "hello\n".to_owned() };
        std::future::ready(Ok::<_, Refusal>(page))
    });
    Running::start(server, routes, instance("db-1"), address)
}

async fn ask(address: SocketAddr, line: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let question = format!("{line} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
    stream.write_all(question.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn a_page_is_shown_to_anybody_as_what_it_is() {
    let server = server(Bounds::default()).await;
    for line in ["GET /page", "GET /page?a=b"] {
        let answer = ask(server.address, line).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains("content-type: text/plain\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nhello\n"), "{answer}");
    }
    for line in ["GET /", "GET /page/", "GET /v1/wal/x", "POST /page", "PUT /page", "DELETE /page"]
    {
        let answer = ask(server.address, line).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{line}: {answer}");
    }
}

#[tokio::test]
async fn beyond_the_bound_nobody_is_answered_until_somebody_goes() {
    let server = server(Bounds { connections: 1, ..Bounds::default() }).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first.write_all(b"GET /page HTTP/1.1\r\nHost: here\r\n\r\n").await.unwrap();
    let mut begin = [0; 8];
    timeout(PATIENCE, first.read_exact(&mut begin)).await.unwrap().unwrap();
    let mut second = TcpStream::connect(server.address).await.unwrap();
    let mut nothing = Vec::new();
    // It is closed, with an answer for what was not read, or without.
    let _ended = timeout(PATIENCE, second.read_to_end(&mut nothing)).await.unwrap();
    assert!(nothing.is_empty());
    drop(first);
    let answered = async {
        loop {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            let question = b"GET /page HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n";
            let mut answer = Vec::new();
            if stream.write_all(question).await.is_ok()
                && stream.read_to_end(&mut answer).await.is_ok_and(|read| read > 0)
            {
                return answer;
            }
        }
    };
    let answer = timeout(PATIENCE, answered).await.unwrap();
    assert!(answer.ends_with(b"hello\n"));
}
