import Dispatch
import Federation
import Fleets
import Foundation
import Synchronization
import Tensors
import TestSupport
import Testing

@Suite("The feed of a run", .timeLimit(.minutes(1)))
struct FeedTests {
    private func tinyRun(_ folder: String, _ change: (inout RunConfiguration) -> Void = { _ in }) throws -> Run {
        let plan = try TinyProblem.plan(folder, change)
        return Run(plan, fleet: SimulatedFleet(threads: 1), resume: true)
    }

    /// Events that differ in their numbers, so that one that is missed or told twice shows.
    private func notice(_ number: Int) -> RunEvent.Kind { .fleetNotice(FleetNotice(.info, "event \(number)")) }

    private func notices(
        _ entries: some AsyncSequence<JournalEntry, any Error> & Sendable
    ) async throws -> [String] {
        var found: [String] = []
        for try await entry in entries {
            if case .fleetNotice(let notice) = entry.event.kind { found.append(notice.message) }
        }
        return found
    }

    @Test("a reader that never comes back stops neither the run nor other readers")
    func stuckReader() async throws {
        let scratch = try ScratchFolder()
        let run = try tinyRun(scratch.path) { $0.federation.rounds = 20 }
        let release = DispatchSemaphore(value: 0)
        let stuck = Mutex(0)
        let log = EventLog()
        let first = run.feed.observe { _ in
            stuck.withLock { $0 += 1 }
            release.wait()
        }
        let second = run.feed.observe { log.add($0) }
        let summary = try await run.run()
        #expect(summary.rounds == 20)
        #expect(await second.finished())
        #expect(log.events == (try RunFolder(path: scratch.path).readEvents().map(\.kind)))
        let isOver = await first.finished(patience: Duration.zero)
        #expect(!isOver)
        #expect(stuck.withLock { $0 } <= 1)
        first.stop()
        release.signal()
        #expect(await first.finished())
    }

    @Test("a reader that throws is called no more, and nothing else happens")
    func throwingReader() async throws {
        struct Broken: Error {}
        let scratch = try ScratchFolder()
        let run = try tinyRun(scratch.path)
        let calls = Mutex(0)
        let observation = run.feed.observe { _ in
            calls.withLock { $0 += 1 }
            throw Broken()
        }
        #expect(try await run.run().rounds == 3)
        #expect(await observation.finished())
        #expect(observation.error is Broken && calls.withLock { $0 } == 1)
    }

    @Test("every reader is given every event once and in order, whatever its buffer", arguments: [1, 2, 7, 1000])
    func complete(buffer: Int) async throws {
        let scratch = try ScratchFolder()
        let folder = RunFolder(path: scratch.path)
        let earlier = RunFeed(folder: folder)
        try earlier.open()
        for number in 0..<10 { earlier.record(notice(number)) }
        earlier.finish()

        let feed = RunFeed(folder: folder)
        let before = feed.subscribe(from: .beginning, buffer: buffer)
        let session = feed.subscribe(from: .session, buffer: buffer)
        try feed.open()
        async let readWhileWritten = notices(before)
        for number in 10..<40 { feed.record(notice(number)) }
        // Begins in the middle, goes on from where it stopped, and reads what it has not seen when all is over.
        var part = feed.subscribe(from: .beginning, buffer: buffer).makeAsyncIterator()
        var position = JournalPosition.beginning
        for number in 0..<25 {
            let entry = try #require(try await part.next())
            #expect(entry.event.kind == notice(number))
            position = entry.position
        }
        let rest = feed.subscribe(from: .after(position), buffer: buffer)
        let new = feed.subscribe(from: .now, buffer: buffer)
        for number in 40..<200 {
            feed.record(notice(number))
            if number % 16 == 0 { await Task.yield() }
        }
        feed.finish()
        let late = feed.subscribe(from: .session, buffer: buffer)
        func expected(_ from: Int) -> [String] { (from..<200).map { "event \($0)" } }
        #expect(try await readWhileWritten == expected(0))
        #expect(try await notices(session) == expected(10))
        #expect(try await notices(rest) == expected(25))
        #expect(try await notices(new) == expected(40))
        #expect(try await notices(late) == expected(10))
        try feed.check()
    }

    @Test("cancelling a reader ends it")
    func cancelled() async throws {
        let scratch = try ScratchFolder()
        let feed = RunFeed(folder: RunFolder(path: scratch.path))
        try feed.open()
        feed.record(notice(0))
        let (reached, signal) = AsyncStream.makeStream(of: Void.self)
        let reading = Task {
            var count = 0
            for try await _ in feed.subscribe() {
                count += 1
                signal.finish()
            }
            return count
        }
        for await _ in reached {}
        reading.cancel()
        #expect(try await reading.value <= 1)
    }

    @Test("a journal that something else has cut short is told, not waited for")
    func shortened() async throws {
        let scratch = try ScratchFolder()
        let folder = RunFolder(path: scratch.path)
        let feed = RunFeed(folder: folder)
        try feed.open()
        let reader = feed.subscribe(buffer: 1)
        for number in 0..<5 { feed.record(notice(number)) }
        try Files.writeAtomically([], to: folder.events)
        let error = await #expect(throws: DeMLError.self) { _ = try await notices(reader) }
        #expect(error?.code == .truncated)
    }

    @Test("what a killed process has left of a line does not cost the resumed run its events")
    func tornLine() async throws {
        let scratch = try ScratchFolder()
        let folder = RunFolder(path: scratch.path)
        _ = try await tinyRun(scratch.path) { $0.federation.rounds = 1 }.run()
        var bytes = try Files.read(folder.events, maximumBytes: 1 << 20)
        bytes.removeLast(5)
        try Files.writeAtomically(bytes, to: folder.events)
        let before = try folder.readEvents().count
        _ = try await tinyRun(scratch.path) { $0.federation.rounds = 2 }.run()
        let names = try folder.readEvents().map(\.kind.name)
        #expect(names.count > before && names[before] == "run_started" && names.last == "run_finished")
    }

    @Test("a line without its end is read when it has one")
    func growingLine() throws {
        let scratch = try ScratchFolder()
        let folder = RunFolder(path: scratch.path)
        let reader = JournalReader(path: folder.events, after: .beginning)
        #expect(try reader.read().isEmpty)
        let feed = RunFeed(folder: folder)
        try feed.open()
        for number in 0..<3 { feed.record(notice(number)) }
        let whole = try Files.read(folder.events, maximumBytes: 1 << 20)
        var seen: [RunEvent.Kind] = []
        let grown = try FileHandle(forWritingTo: URL(filePath: folder.events))
        try grown.truncate(atOffset: 0)
        for byte in whole {
            try grown.write(contentsOf: Data([byte]))
            seen += try reader.read().map(\.event.kind)
        }
        #expect(seen == (0..<3).map(notice))
    }

    @Test("a run of another process is followed until nobody holds it")
    func follow() async throws {
        let scratch = try ScratchFolder()
        let folder = RunFolder(path: scratch.path)
        var lock: FolderLock? = try FolderLock(path: folder.lock)
        let feed = RunFeed(folder: folder)
        try feed.open()
        feed.record(notice(0))
        async let followed = notices(RunFollower(folder, every: .milliseconds(1)))
        for number in 1..<50 {
            feed.record(notice(number))
            await Task.yield()
        }
        withExtendedLifetime(lock) {}
        lock = nil
        #expect(try await followed == (0..<50).map { "event \($0)" })
        // Of a run that nobody works on, what there is.
        #expect(try await notices(RunFollower(folder)).count == 50)
    }

    @Test("looking whether a run is at work never turns away one that starts")
    func lockIsOnlyLookedAt() async throws {
        let scratch = try ScratchFolder()
        let folder = RunFolder(path: scratch.path)
        #expect(!folder.isAtWork)
        let stop = Atomic(false)
        let queue = DispatchQueue(label: "readers", attributes: .concurrent)
        let (ended, end) = AsyncStream.makeStream(of: Void.self)
        queue.async {
            while !stop.load(ordering: .relaxed) { _ = folder.isAtWork }
            end.finish()
        }
        var refused = 0
        for _ in 0..<3000 {
            do {
                let lock = try FolderLock(path: folder.lock)
                #expect(folder.isAtWork)
                withExtendedLifetime(lock) {}
            } catch { refused += 1 }
        }
        stop.store(true, ordering: .relaxed)
        for await _ in ended {}
        #expect(refused == 0)
        #expect(!folder.isAtWork)
    }
}
