//! Questions that have to wait for a disk: a few threads, a bounded queue, answers by the workers' own messages.

use super::descriptors::{Access, OpenFile};
use super::opening::{Patience, read};
use super::{finding, matching};
use crate::control::{WorkerMessage, WorkerSender};
use crate::limits::FILE_THREAD_STACK_BYTES;
use crate::locks::lock;
use crate::templating;
use std::io;
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

/// Questions that may wait: at a disk's 10 ms for each, a longer queue only answers clients that have given up.
const QUEUE_MAX: usize = 1024;
/// A disk serves some requests at once; a dead network file system must not take more threads than these.
const THREADS: usize = 4;

/// What the pool is asked.
pub enum Task {
    Find(Box<finding::Question>),
    Match(Box<matching::Question>),
    Read { file: Arc<OpenFile>, offset: u64, length: usize },
    Evaluate(Box<templating::Question>),
}

/// What it answers.
pub enum Done {
    Found(Box<finding::Answer>),
    Matched(matching::Answer),
    /// None: it cannot be read.
    Read(Option<Vec<u8>>),
    Evaluated(Box<templating::Outcome>),
}

struct Job {
    task: Task,
    ticket: u64,
    reply: WorkerSender,
}

/// The pool's front, shared by all workers.
pub struct Files {
    queue: SyncSender<Job>,
    allowed: bool,
}

impl Files {
    /// Starts the threads; `allowed` is whether this engine may open files at all.
    pub fn start(allowed: bool) -> io::Result<Arc<Self>> {
        let (queue, receiver) = sync_channel(QUEUE_MAX);
        let receiver = Arc::new(Mutex::new(receiver));
        if allowed {
            // Both are read while the engine may still do anything it likes.
            super::mime::types();
            super::hiding::working_directory();
        }
        for index in 0..if allowed { THREADS } else { 0 } {
            let receiver = receiver.clone();
            thread::Builder::new()
                .name(format!("files-{index}"))
                .stack_size(FILE_THREAD_STACK_BYTES)
                .spawn(move || work(&receiver))?;
        }
        Ok(Arc::new(Self { queue, allowed }))
    }

    /// This engine may open files.
    pub fn is_allowed(&self) -> bool {
        self.allowed
    }

    /// Queues a task; the answer comes as `WorkerMessage::FileDone`. False: the queue is full, or there is no pool.
    pub fn submit(&self, task: Task, ticket: u64, reply: &WorkerSender) -> bool {
        self.queue.try_send(Job { task, ticket, reply: reply.clone() }).is_ok()
    }
}

fn work(receiver: &Mutex<Receiver<Job>>) {
    loop {
        let next = lock(receiver).recv();
        let Ok(job) = next else { return };
        let done = perform(job.task);
        job.reply.send(WorkerMessage::FileDone { ticket: job.ticket, done });
    }
}

fn perform(task: Task) -> Done {
    match task {
        Task::Find(question) => {
            let answer = finding::find(&question, Access::Blocking);
            Done::Found(Box::new(answer.unwrap_or(finding::Answer::Failed)))
        }
        Task::Evaluate(question) => Done::Evaluated(Box::new(templating::evaluate(question))),
        Task::Match(question) => {
            Done::Matched(matching::find(&question, Patience::Blocking).unwrap_or(matching::Answer::None))
        }
        Task::Read { file, offset, length } => {
            let mut bytes = Vec::new();
            let read = read(file.as_fd(), offset, length, Patience::Blocking, &mut bytes);
            Done::Read(read.is_ok().then_some(bytes))
        }
    }
}
