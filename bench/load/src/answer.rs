//! Reads one HTTP/1.1 answer from bytes as they come: bytes in, at most one [`Answer`] out, no I/O.
//! Used by every client role. Rule: whatever is not exactly one well-framed answer is a [`Flaw`], never a guess.

/// The header in which a backend names itself; the client compares it with the route it asked for.
pub const MARK_HEADER: &str = "x-backend";
/// Longest answer head accepted: proxies add a handful of headers to the backend's three.
const HEAD_LEN_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// The backend's number; `None` where the answer has no mark (it is not the backend's).
    pub mark: Option<u8>,
    /// The proxy announced that it closes the connection after this answer.
    pub close: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Not an HTTP/1.1 answer, or a head beyond the limits above.
    Malformed,
    /// No Content-Length: the backend always sends one and a proxy has no reason to re-frame it.
    Unframed,
    /// Bytes beyond the end of the answer, with no request under way.
    Surplus,
}

#[derive(Default)]
pub struct AnswerReader {
    head: Vec<u8>,
    /// The head once parsed, and how much of the body is still to come.
    current: Option<(Answer, usize)>,
}

impl AnswerReader {
    /// Takes the next bytes; an answer is returned when its last body byte has come.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<Answer>, Flaw> {
        let rest_len = match self.current {
            Some(_) => bytes.len(),
            None => match self.push_head(bytes)? {
                Some(rest_len) => rest_len,
                None => return Ok(None),
            },
        };
        let Some((answer, body_len)) = self.current else {
            return Ok(None);
        };
        if rest_len > body_len {
            return Err(Flaw::Surplus);
        }
        if rest_len == body_len {
            self.current = None;
            return Ok(Some(answer));
        }
        self.current = Some((answer, body_len - rest_len));
        Ok(None)
    }

    /// Parses the head; gives the number of body bytes that came with it, or `None` when the head is not complete.
    fn push_head(&mut self, bytes: &[u8]) -> Result<Option<usize>, Flaw> {
        let held_len = self.head.len();
        if held_len > 0 {
            self.head.extend_from_slice(bytes);
        }
        let whole = if held_len > 0 { &self.head[..] } else { bytes };
        let Some((answer, body_len, head_len)) = parse_head(whole)? else {
            if whole.len() > HEAD_LEN_MAX {
                return Err(Flaw::Malformed);
            }
            if held_len == 0 {
                self.head.extend_from_slice(bytes);
            }
            return Ok(None);
        };
        let rest_len = whole.len() - head_len;
        self.head.clear();
        self.current = Some((answer, body_len));
        Ok(Some(rest_len))
    }
}

fn parse_head(bytes: &[u8]) -> Result<Option<(Answer, usize, usize)>, Flaw> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let head_len = match response.parse(bytes) {
        Ok(httparse::Status::Complete(head_len)) => head_len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(Flaw::Malformed),
    };
    let mut answer = Answer {
        status: response.code.unwrap_or(0),
        mark: None,
        close: false,
    };
    let mut body_len = None;
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(header.value).map_err(|_| Flaw::Malformed)?;
            body_len = Some(text.trim().parse::<usize>().map_err(|_| Flaw::Malformed)?);
        } else if header.name.eq_ignore_ascii_case("connection") {
            answer.close = header.value.eq_ignore_ascii_case(b"close");
        } else if header.name.eq_ignore_ascii_case(MARK_HEADER) {
            answer.mark = std::str::from_utf8(header.value)
                .ok()
                .and_then(|text| text.parse().ok());
        }
    }
    // RFC 9112 section 6.3: 204 and 304 have no body whatever the headers say.
    let body_len = if matches!(answer.status, 204 | 304) {
        0
    } else {
        body_len.ok_or(Flaw::Unframed)?
    };
    Ok(Some((answer, body_len, head_len)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Backend: 3\r\n\r\nhello";
    const MARKED_ANSWER: Answer = Answer {
        status: 200,
        mark: Some(3),
        close: false,
    };

    #[test]
    fn whole_answer_is_read_at_once() {
        assert_eq!(
            AnswerReader::default().push(MARKED),
            Ok(Some(MARKED_ANSWER))
        );
    }

    #[test]
    fn answer_is_the_same_byte_by_byte() {
        let mut reader = AnswerReader::default();
        let (last, before) = MARKED.split_last().expect("not empty");
        for byte in before {
            assert_eq!(reader.push(&[*byte]), Ok(None));
        }
        assert_eq!(reader.push(&[*last]), Ok(Some(MARKED_ANSWER)));
    }

    #[test]
    fn reader_is_ready_for_the_next_answer() {
        let mut reader = AnswerReader::default();
        for _ in 0..2 {
            assert_eq!(reader.push(MARKED), Ok(Some(MARKED_ANSWER)));
        }
    }

    #[test]
    fn answer_of_the_proxy_itself_has_no_mark() {
        let answer = AnswerReader::default()
            .push(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        assert_eq!(
            answer,
            Ok(Some(Answer {
                status: 404,
                mark: None,
                close: true
            }))
        );
    }

    #[test]
    fn surplus_unframed_and_malformed_are_flaws() {
        let surplus = [MARKED, b"x"].concat();
        assert_eq!(AnswerReader::default().push(&surplus), Err(Flaw::Surplus));
        assert_eq!(
            AnswerReader::default().push(b"HTTP/1.1 200 OK\r\n\r\n"),
            Err(Flaw::Unframed)
        );
        assert_eq!(
            AnswerReader::default().push(b"SSH-2.0-x\r\n\r\n"),
            Err(Flaw::Malformed)
        );
        let endless = vec![b'a'; HEAD_LEN_MAX + 1];
        let head = [b"HTTP/1.1 200 OK\r\nX: ".as_slice(), &endless].concat();
        assert_eq!(AnswerReader::default().push(&head), Err(Flaw::Malformed));
    }
}
