import Synchronization
import Testing
import Waiting

private final class Locked<Value: Sendable>: Sendable {
    private let value: Mutex<Value>

    init(_ value: Value) { self.value = Mutex(value) }

    func with<Result: Sendable>(_ body: (inout Value) -> Result) -> Result { value.withLock { body(&$0) } }
}

@Suite("Turns")
struct TurnsTests {
    @Test("who asks first goes on first, and never more than the width at a time")
    func order() async throws {
        let turns = WaitQueue(Turns(width: 1))
        let seen = Locked<[Int]>([])
        try await turns.wait(for: ())
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<50 {
                group.addTask { try await turns.pass { seen.with { $0.append(index) } } }
                // Each is asleep before the next asks.
                while turns.read({ $0.waitingCount }) <= index { await Task.yield() }
            }
            turns.update { $0.returned(()) }
            try await group.waitForAll()
        }
        #expect(seen.with { $0 } == Array(0..<50))
    }

    @Test("a task that is cancelled while it waits gets no turn, and takes none from others")
    func cancelledWhileWaiting() async throws {
        let turns = WaitQueue(Turns(width: 1))
        try await turns.wait(for: ())
        let waiting = Task { try await turns.wait(for: ()) }
        while turns.read({ $0.waitingCount }) == 0 { await Task.yield() }
        waiting.cancel()
        await #expect(throws: CancellationError.self) { try await waiting.value }
        turns.update { $0.returned(()) }
        try await turns.pass {}
    }

    @Test("a task that is cancelled before it asks gets no turn")
    func cancelledBefore() async throws {
        let turns = WaitQueue(Turns(width: 1))
        let task = Task {
            while !Task.isCancelled { await Task.yield() }
            try await turns.wait(for: ())
        }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
        try await turns.pass {}
    }

    /// Grants and cancellations at the same moment, over and over: whatever wins, no turn may be lost or given twice.
    @Test("a cancellation in the moment of the grant loses nothing")
    func race() async throws {
        let turns = WaitQueue(Turns(width: 2))
        let atWork = Locked((now: 0, most: 0))
        let (passed, cancelled) = await withTaskGroup(of: Bool.self) { group in
            for index in 0..<4000 {
                let task = Task {
                    try await turns.pass {
                        atWork.with { $0 = ($0.now + 1, max($0.most, $0.now + 1)) }
                        await Task.yield()
                        atWork.with { $0.now -= 1 }
                    }
                }
                group.addTask {
                    if index % 2 == 0 {
                        for _ in 0..<index % 7 { await Task.yield() }
                        task.cancel()
                    }
                    return (try? await task.value) != nil
                }
            }
            var counts = (0, 0)
            for await isPassed in group { if isPassed { counts.0 += 1 } else { counts.1 += 1 } }
            return counts
        }
        #expect(passed + cancelled == 4000 && passed >= 2000)
        #expect(atWork.with { $0.most } <= 2 && atWork.with { $0.now } == 0)
        // Both turns are there again.
        try await turns.wait(for: ())
        try await turns.wait(for: ())
        #expect(turns.read { $0.waitingCount } == 0)
    }
}

/// One thing, of which every grant and every return is counted.
private struct Ball: WaitedResource {
    var isThere = false
    var waiting: [WaitTicket] = []
    var returns = 0

    mutating func requested(_ ticket: WaitTicket, _: Void) -> [WaitAnswer<Int>] {
        waiting.append(ticket)
        return serve()
    }

    mutating func withdrawn(_ ticket: WaitTicket) -> [WaitAnswer<Int>] {
        waiting.removeAll { $0 == ticket }
        return []
    }

    mutating func returned(_: Int) -> [WaitAnswer<Int>] {
        returns += 1
        return thrown()
    }

    mutating func thrown() -> [WaitAnswer<Int>] {
        isThere = true
        return serve()
    }

    private mutating func serve() -> [WaitAnswer<Int>] {
        guard isThere, !waiting.isEmpty else { return [] }
        isThere = false
        return [WaitAnswer(waiting.removeFirst(), .success(7))]
    }
}

@Suite("A queue of waiting tasks")
struct WaitQueueTests {
    @Test("what was granted to a task that is cancelled before it runs comes back, and the next one gets it")
    func grantThenCancel() async throws {
        for _ in 0..<200 { try await grantAndCancel() }
    }

    private func grantAndCancel() async throws {
        let queue = WaitQueue(Ball())
        let first = Task { try await queue.wait(for: ()) }
        while queue.read({ $0.waiting.count }) < 1 { await Task.yield() }
        let second = Task { try await queue.wait(for: ()) }
        while queue.read({ $0.waiting.count }) < 2 { await Task.yield() }
        queue.update { $0.thrown() }
        first.cancel()
        do {
            // It may have run on before it was cancelled: then it has it, and gives it back.
            let ball = try await first.value
            queue.update { $0.returned(ball) }
        } catch {
            #expect(error is CancellationError)
        }
        #expect(try await second.value == 7)
        #expect(queue.read { $0.returns } == 1 && queue.read { !$0.isThere })
    }

    @Test("a refusal reaches everybody who waits")
    func refusal() async throws {
        struct No: Error {}
        let queue = WaitQueue(Ball())
        let tasks = (0..<3).map { _ in Task { try await queue.wait(for: ()) } }
        while queue.read({ $0.waiting.count }) < 3 { await Task.yield() }
        queue.update { ball in
            defer { ball.waiting = [] }
            return ball.waiting.map { WaitAnswer($0, .failure(No())) }
        }
        for task in tasks { await #expect(throws: No.self) { try await task.value } }
    }
}

@Suite("A value that is set once")
struct OneShotTests {
    @Test("all who wait get it, who comes later too; who is cancelled gets nothing")
    func set() async throws {
        let shot = OneShot<Int>()
        async let first = shot.wait()
        async let second = shot.wait()
        let cancelled = Task { try await shot.wait() }
        cancelled.cancel()
        await #expect(throws: CancellationError.self) { try await cancelled.value }
        #expect(shot.value == nil)
        shot.set(1)
        shot.set(2)
        #expect(try await first + second == 2)
        #expect(try await shot.wait() == 1 && shot.value == 1)
    }
}
