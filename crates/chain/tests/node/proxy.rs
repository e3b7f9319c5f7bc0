//! A proxy in front of a node's JSON-RPC that answers one method as it likes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

#[derive(Clone, Copy)]
pub enum Lie {
    /// Answers with this JSON.
    Answer(&'static str, &'static str),
    /// Answers with an error of this message, and passes nothing on.
    Fail(&'static str, &'static str),
    /// Passes it on, and answers with an error of this message.
    AfterwardsFail(&'static str, &'static str),
    /// Does not answer.
    Hang(&'static str),
}

#[derive(Default)]
struct State {
    lies: HashMap<&'static str, Lie>,
    asked: HashMap<String, usize>,
}

pub struct Proxy {
    pub url: String,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    pub async fn start(node: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::<Mutex<State>>::default();
        let (node, shared) = (node.to_owned(), Arc::clone(&state));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, node.clone(), Arc::clone(&shared)));
            }
        });
        Self { url, state }
    }

    /// From now on lies about this method too.
    pub fn lie(&self, lie: Lie) {
        let (Lie::Answer(method, _) | Lie::Fail(method, _) | Lie::AfterwardsFail(method, _) | Lie::Hang(method)) = lie;
        self.state.lock().unwrap().lies.insert(method, lie);
    }

    pub fn truth(&self) {
        self.state.lock().unwrap().lies.clear();
    }

    pub fn asked(&self, method: &str) -> usize {
        self.state.lock().unwrap().asked.get(method).copied().unwrap_or(0)
    }
}

async fn serve(mut stream: TcpStream, node: String, state: Arc<Mutex<State>>) -> Option<()> {
    loop {
        let body = read_message(&mut stream).await?;
        let request: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let method = request["method"].as_str().unwrap_or_default().to_owned();
        let lie = {
            let mut state = state.lock().unwrap();
            *state.asked.entry(method.clone()).or_default() += 1;
            state.lies.get(method.as_str()).copied()
        };
        let id = &request["id"];
        let error = |words| format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32000,"message":"{words}"}}}}"#);
        let answer = match lie {
            Some(Lie::Answer(_, result)) => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#),
            Some(Lie::Fail(_, words)) => error(words),
            Some(Lie::AfterwardsFail(_, words)) => {
                forward(&node, &body).await?;
                error(words)
            }
            Some(Lie::Hang(_)) => return std::future::pending().await,
            None => String::from_utf8(forward(&node, &body).await?).unwrap(),
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        stream.write_all((head + &answer).as_bytes()).await.ok()?;
    }
}

async fn forward(node: &str, body: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(node).await.ok()?;
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {node}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(body).await.ok()?;
    read_message(&mut stream).await
}

/// The body of the next HTTP message that gives its length.
async fn read_message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
    let length: usize = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))?
        .trim()
        .parse()
        .ok()?;
    let mut body = bytes.split_off(head);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(body)
}
