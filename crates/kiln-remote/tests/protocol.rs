//! Both state machines against each other, and against bytes that neither would send. No I/O but memory files.

use std::os::fd::OwnedFd;
use std::time::Duration;

use kiln_abi::{FunctionId, GlobalId, ModuleDigest, Pipeline};
use kiln_remote::{
    Client, Compile, Compiled, Covered, Error, ErrorKind, Event, FRAME_BYTES_MAX, Failed, FailureKind, FunctionSet,
    Machine, ModuleId, Neighbours, Normalize, Normalized, OpenModule, PROTOCOL_VERSION, Payload, Request, RequestId,
    Server, Timings, Welcome,
};

fn welcome() -> Welcome {
    Welcome { llvm_version: "22.1.8".into(), host_cpu: "znver3".into() }
}

/// Everything that `from` has to send, to `to`, in pieces of `piece` bytes; descriptors come with the first piece.
fn carry(from: &mut impl Machine, to: &mut impl Machine, piece: usize) -> Result<(), Error> {
    while let Some(frame) = from.poll_transmit() {
        let mut fds = frame.fds;
        for bytes in frame.bytes.chunks(piece) {
            to.handle(bytes, &mut fds)?;
            assert!(fds.is_empty());
        }
    }
    Ok(())
}

fn open(module: u32, bitcode: Payload) -> OpenModule {
    let mut have = FunctionSet::default();
    have.insert(FunctionId(77));
    OpenModule { module: ModuleId(module), digest: ModuleDigest([3; 32]), bitcode, have }
}

fn compile(roots: &[u32]) -> Compile {
    Compile {
        module: ModuleId(5),
        roots: roots.iter().map(|r| FunctionId(*r)).collect(),
        pipeline: Pipeline::Full,
        neighbours: Neighbours { functions_max: 8, instructions_max: 9 },
        opaque: vec![FunctionId(4)],
        alone: Some(vec![7; 9]),
    }
}

fn compiled(request: RequestId, object: Payload) -> Compiled {
    Compiled {
        request,
        functions: vec![FunctionId(1), FunctionId(u32::MAX)],
        globals: vec![GlobalId(4)],
        visible: vec![],
        instructions: 1 << 40,
        object,
        timings: Timings { open: Duration::from_millis(7), codegen: Duration::from_nanos(1), ..Timings::default() },
    }
}

#[test]
fn a_conversation_in_pieces_of_any_size() {
    for piece in [1, 2, 7, 4096, usize::MAX] {
        let (mut client, mut server) = (Client::new(), Server::new(welcome()));
        client.open_module(open(5, Payload::memory(b"bitcode").unwrap())).unwrap();
        let first = client.compile(compile(&[1, 2, 3])).unwrap();
        let second = client.compile(compile(&[])).unwrap();
        let input = Payload::Inline(b"text".to_vec());
        let third = client.normalize(Normalize { input, name: "n.ll".into() }).unwrap();
        let fourth = client.compile(compile(&[9])).unwrap();
        carry(&mut client, &mut server, piece).unwrap();

        let Some(Request::OpenModule(module)) = server.poll_request() else { panic!() };
        assert_eq!((module.module, module.digest), (ModuleId(5), ModuleDigest([3; 32])));
        assert!(module.have.contains(FunctionId(77)) && module.have.count() == 1);
        assert_eq!(&*module.bitcode.map().unwrap(), b"bitcode");
        let Some(Request::Compile { request, seen, compile: asked }) = server.poll_request() else { panic!() };
        assert_eq!((request, seen, asked.pipeline), (first, 0, Pipeline::Full));
        assert_eq!(asked.roots, compile(&[1, 2, 3]).roots);
        assert_eq!(asked.neighbours, compile(&[]).neighbours);
        assert_eq!(asked.opaque, [FunctionId(4)]);
        assert_eq!(asked.alone, Some(vec![7; 9]));
        assert!(matches!(server.poll_request(), Some(Request::Compile { request, .. }) if request == second));
        let Some(Request::Normalize { request, normalize }) = server.poll_request() else { panic!() };
        assert_eq!((request, normalize.name.as_str()), (third, "n.ll"));
        assert!(matches!(server.poll_request(), Some(Request::Compile { .. })));
        assert!(server.poll_request().is_none());

        server.compiled(compiled(first, Payload::memory(b"object").unwrap())).unwrap();
        let failed = Failed {
            request: second,
            kind: FailureKind::Rejected,
            function: Some(FunctionId(8)),
            message: "näme".into(),
        };
        server.failed(&failed).unwrap();
        let bitcode = Payload::memory(b"new").unwrap();
        let assembly = Some(Payload::memory(b"asm").unwrap());
        server.normalized(Normalized { request: third, bitcode, assembly }).unwrap();
        server.covered(&Covered { request: fourth, by: vec![first] }).unwrap();
        carry(&mut server, &mut client, piece).unwrap();

        assert!(matches!(client.poll_event(), Some(Event::Welcome(w)) if w == welcome()));
        let Some(Event::Compiled(reply)) = client.poll_event() else { panic!() };
        let expected = compiled(first, Payload::Inline(vec![]));
        assert_eq!(reply.functions, expected.functions);
        assert_eq!((reply.globals, reply.instructions), (expected.globals, expected.instructions));
        assert_eq!(reply.timings, expected.timings);
        assert_eq!(reply.object.into_bytes().unwrap(), b"object");
        assert!(matches!(client.poll_event(), Some(Event::Failed(f)) if f == failed));
        let Some(Event::Normalized(done)) = client.poll_event() else { panic!() };
        assert_eq!(done.bitcode.into_bytes().unwrap(), b"new");
        assert_eq!(done.assembly.unwrap().into_bytes().unwrap(), b"asm");
        assert!(matches!(client.poll_event(), Some(Event::Covered(c)) if c.by == [first]));
        assert!(client.poll_event().is_none());
        assert_eq!(client.pending().len(), 0);

        // The next request says that one compile was seen.
        client.compile(compile(&[1])).unwrap();
        carry(&mut client, &mut server, piece).unwrap();
        assert!(matches!(server.poll_request(), Some(Request::Compile { seen: 1, .. })));
    }
}

fn frame(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = (body.len() as u32).to_le_bytes().to_vec();
    bytes.extend_from_slice(&kind.to_le_bytes());
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(body);
    bytes
}

fn hello(version: u32) -> Vec<u8> {
    frame(1, &[&b"kilncomp"[..], &version.to_le_bytes()].concat())
}

fn feed(machine: &mut impl Machine, bytes: &[u8]) -> Result<(), Error> {
    machine.handle(bytes, &mut Vec::new())
}

#[test]
fn versions_must_agree() {
    let (mut client, mut server) = (Client::new(), Server::new(welcome()));
    let error = feed(&mut server, &hello(PROTOCOL_VERSION + 1)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Version { theirs, .. } if *theirs == PROTOCOL_VERSION + 1));
    // The server says which version it wants.
    carry(&mut server, &mut client, 4096).unwrap_err();
    let mut server = Server::new(welcome());
    assert!(matches!(feed(&mut server, &frame(1, b"GET / HT")).unwrap_err().kind(), ErrorKind::NotKiln));
    let mut server = Server::new(welcome());
    assert!(matches!(feed(&mut server, &frame(3, &[0; 64])).unwrap_err().kind(), ErrorKind::NotKiln));
}

#[test]
fn requests_of_the_future_are_refused_politely() {
    let mut server = Server::new(welcome());
    feed(&mut server, &hello(PROTOCOL_VERSION)).unwrap();
    feed(&mut server, &frame(99, &[42, 0, 0, 0, 1, 2, 3])).unwrap();
    assert!(server.poll_request().is_none());
    let replies: Vec<u8> = std::iter::from_fn(|| server.poll_transmit()).flat_map(|t| t.bytes).collect();
    assert!(String::from_utf8_lossy(&replies).contains("requests of kind 99"));
}

#[test]
fn replies_to_nothing_are_errors() {
    let (mut client, mut server) = (Client::new(), Server::new(welcome()));
    carry(&mut client, &mut server, 64).unwrap();
    server.covered(&Covered { request: RequestId(0), by: vec![] }).unwrap();
    assert!(matches!(carry(&mut server, &mut client, 64).unwrap_err().kind(), ErrorKind::Unexpected { .. }));
}

#[test]
fn limits_hold() {
    let mut server = Server::new(welcome());
    let mut header = frame(1, &[]);
    header[..4].copy_from_slice(&(FRAME_BYTES_MAX as u32 + 1).to_le_bytes());
    assert!(matches!(feed(&mut server, &header).unwrap_err().kind(), ErrorKind::FrameTooLarge { .. }));
    let mut server = Server::new(welcome());
    header[..4].copy_from_slice(&0u32.to_le_bytes());
    header[6] = 1;
    let error = feed(&mut server, &header).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::MissingDescriptors { announced: 1, received: 0 }));
    header[6] = 200;
    let error = feed(&mut Server::new(welcome()), &header).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TooManyDescriptors { .. }));
    // Our own messages are held to the same limits.
    let input = Payload::Inline(vec![0; FRAME_BYTES_MAX]);
    let error = Client::new().normalize(Normalize { input, name: String::new() }).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::FrameTooLarge { .. }));
}

#[test]
fn counts_are_checked_before_memory_is_taken() {
    // A list of 2^32 - 1 roots in a body that ends right after the count.
    let mut body = vec![0; 4 + 4 + 4 + 1 + 8];
    body.extend_from_slice(&u32::MAX.to_le_bytes());
    let mut server = Server::new(welcome());
    feed(&mut server, &hello(PROTOCOL_VERSION)).unwrap();
    assert!(matches!(feed(&mut server, &frame(3, &body)).unwrap_err().kind(), ErrorKind::Malformed { .. }));
}

/// A small generator of our own: the tests are the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        // xorshift64*, Vigna 2016.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        match random.below(5) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
            2 => bytes.truncate(at.max(1)),
            3 => {
                let piece = bytes[at..(at + random.below(16)).min(bytes.len())].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, piece);
            }
            _ => drop(bytes.drain(at..(at + random.below(8)).min(bytes.len() - 1).max(at))),
        }
    }
}

fn streams() -> (Vec<u8>, Vec<u8>) {
    let (mut client, mut server) = (Client::new(), Server::new(welcome()));
    client.open_module(open(5, Payload::Inline(b"bitcode".to_vec()))).unwrap();
    let requests: Vec<_> = (0..4).map(|n| client.compile(compile(&[n, n + 1])).unwrap()).collect();
    client.normalize(Normalize { input: Payload::Inline(b"text".to_vec()), name: "n".into() }).unwrap();
    let collect = |machine: &mut dyn Machine| -> Vec<u8> {
        std::iter::from_fn(|| machine.poll_transmit()).flat_map(|t| t.bytes).collect()
    };
    let upwards = collect(&mut client);
    feed(&mut server, &upwards).unwrap();
    server.compiled(compiled(requests[0], Payload::Inline(b"object".to_vec()))).unwrap();
    let failure = Failed { request: requests[1], kind: FailureKind::Crash, function: None, message: "m".into() };
    server.failed(&failure).unwrap();
    server.covered(&Covered { request: requests[2], by: vec![requests[0]] }).unwrap();
    let bitcode = Payload::Inline(b"b".to_vec());
    server.normalized(Normalized { request: RequestId(4), bitcode, assembly: None }).unwrap();
    (upwards, collect(&mut server))
}

#[test]
fn mutated_bytes_are_errors_or_messages_never_panics() {
    let (upwards, downwards) = streams();
    let mut random = Random(0x6b69_6c6e);
    let (mut refused, mut accepted) = (0, 0);
    for _ in 0..40_000 {
        let mut bytes = upwards.clone();
        mutate(&mut bytes, &mut random);
        let mut server = Server::new(welcome());
        let piece = 1 + random.below(64);
        let result = bytes.chunks(piece).try_for_each(|bytes| feed(&mut server, bytes));
        *(if result.is_err() { &mut refused } else { &mut accepted }) += 1;

        let mut bytes = downwards.clone();
        mutate(&mut bytes, &mut random);
        let mut client = Client::new();
        for n in 0..4 {
            client.compile(compile(&[n])).unwrap();
        }
        let result = bytes.chunks(piece).try_for_each(|bytes| feed(&mut client, bytes));
        *(if result.is_err() { &mut refused } else { &mut accepted }) += 1;
    }
    // Both happen, or the mutations test nothing.
    assert!(refused > 10_000 && accepted > 1_000, "{refused} refused, {accepted} accepted");
}

#[test]
fn descriptors_without_a_frame_are_bounded() {
    let mut server = Server::new(welcome());
    let make = || -> OwnedFd {
        let Payload::Memory { fd, .. } = Payload::memory(b"x").unwrap() else { panic!() };
        fd
    };
    let error = (0..1000).find_map(|_| server.handle(&[], &mut vec![make()]).err()).expect("a limit");
    assert!(matches!(error.kind(), ErrorKind::TooManyDescriptors { .. }));
}
