import Foundation
import Synchronization
import Tensors

/// The events of a ``RunFeed`` for one reader, to be iterated once. Ends when the run has ended and all is read, or when
/// the reading task is cancelled. Throws where the journal cannot be read.
public final class RunSubscription: AsyncSequence, Sendable {
    public typealias Element = JournalEntry

    private let feed: RunFeed
    private let id: Int
    private let wakes: AsyncStream<Void>

    init(feed: RunFeed, id: Int, wakes: AsyncStream<Void>) {
        self.feed = feed
        self.id = id
        self.wakes = wakes
    }

    deinit { feed.unsubscribe(id) }

    public func makeAsyncIterator() -> Iterator { Iterator(subscription: self, wakes: wakes.makeAsyncIterator()) }

    public struct Iterator: AsyncIteratorProtocol {
        fileprivate let subscription: RunSubscription
        fileprivate var wakes: AsyncStream<Void>.Iterator
        private var pending: ArraySlice<JournalEntry> = []
        private var reader: JournalReader?

        fileprivate init(subscription: RunSubscription, wakes: AsyncStream<Void>.Iterator) {
            self.subscription = subscription
            self.wakes = wakes
        }

        public mutating func next() async throws -> JournalEntry? {
            if pending.isEmpty { pending = try await nextBatch()?[...] ?? [] }
            return pending.popFirst()
        }

        /// All events that are there, at least one; nil at the end.
        mutating func nextBatch() async throws -> [JournalEntry]? {
            let (feed, id) = (subscription.feed, subscription.id)
            while !Task.isCancelled {
                switch feed.supply(id) {
                case .entries(let entries):
                    // The next time the reader falls behind, it does so elsewhere.
                    reader = nil
                    return entries
                case .ended:
                    return nil
                case .none:
                    guard await wakes.next() != nil else { return nil }
                case .journal(let position, let end):
                    let reader = self.reader ?? JournalReader(path: feed.path, after: position)
                    self.reader = reader
                    let entries = try reader.read()
                    let isAtEnd = feed.hasRead(id, upTo: reader.position)
                    if !entries.isEmpty { return entries }
                    guard isAtEnd || reader.position >= end else {
                        throw DeMLError(
                            .truncated, "it ends after \(reader.position.bytes) bytes, but \(end.bytes) were written",
                            place: feed.path, hint: "something else than DeML has changed it")
                    }
                }
            }
            return nil
        }
    }
}

extension RunFeed {
    /// Calls `body` with every event from `start` on, one at a time, on a queue of its own, where it may block as long as
    /// it likes: a terminal that was stopped, a full pipe, a slow disk. When it throws, it is called no more; the run does
    /// not notice.
    ///
    /// - Parameter queue: a serial queue.
    public func observe(
        from start: Start = .session, on queue: DispatchQueue = DispatchQueue(label: "deml.observer"),
        _ body: @escaping @Sendable (RunEvent) throws -> Void
    ) -> RunObservation {
        // Subscribed before this returns, so that nothing that happens afterwards is missed.
        let subscription = subscribe(from: start)
        let observation = RunObservation()
        observation.keep(
            Task {
                do {
                    var iterator = subscription.makeAsyncIterator()
                    while let batch = try await iterator.nextBatch() {
                        try await perform(on: queue) {
                            for entry in batch where !observation.isStopped {
                                try body(entry.event)
                                observation.hasAdvanced()
                            }
                        }
                    }
                    observation.end(nil)
                } catch {
                    observation.end(error)
                }
            })
        return observation
    }
}

private func perform(on queue: DispatchQueue, _ body: @escaping @Sendable () throws -> Void) async throws {
    try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
        queue.async { continuation.resume(with: Result { try body() }) }
    }
}

/// Somebody who is called with the events of a run.
public final class RunObservation: Sendable {
    private struct State {
        var task: Task<Void, Never>?
        var isStopped = false
        var isEnded = false
        var error: (any Error)?
        /// Events dealt with so far.
        var count = 0
        var waiting: [Int: CheckedContinuation<Bool, Never>] = [:]
        var waits = 0
    }

    private let state = Mutex(State())

    /// Why it is called no more, where it has thrown.
    public var error: (any Error)? { state.withLock { $0.error } }

    /// It is called no more, once the event it is at is done.
    public func stop() {
        state.withLock {
            $0.isStopped = true
            $0.task?.cancel()
        }
    }

    /// Waits until the run has ended and every event is dealt with. Not for ever: it gives up when for the time of
    /// `patience` nothing moved. Cancelling the waiting task does not cut it short, as the last events of a run that was
    /// cancelled are worth showing too.
    /// - Returns: whether all is done.
    public func finished(patience: Duration = .seconds(10)) async -> Bool {
        while true {
            let before = state.withLock { $0.count }
            if await isEnded(within: patience) { return true }
            if state.withLock({ $0.count }) == before { return false }
        }
    }

    private func isEnded(within time: Duration) async -> Bool {
        await withCheckedContinuation { continuation in
            let id: Int? = state.withLock { state in
                if state.isEnded { return nil }
                state.waits += 1
                state.waiting[state.waits] = continuation
                return state.waits
            }
            guard let id else { return continuation.resume(returning: true) }
            DispatchQueue.global().asyncAfter(deadline: .now() + time / .seconds(1)) {
                self.state.withLock { $0.waiting.removeValue(forKey: id) }?.resume(returning: false)
            }
        }
    }

    fileprivate var isStopped: Bool { state.withLock { $0.isStopped } }

    fileprivate func keep(_ task: Task<Void, Never>) { state.withLock { $0.task = task } }

    fileprivate func hasAdvanced() { state.withLock { $0.count += 1 } }

    fileprivate func end(_ error: (any Error)?) {
        let waiting = state.withLock { state in
            state.isEnded = true
            state.error = error
            state.task = nil
            defer { state.waiting = [:] }
            return state.waiting.values.map { $0 }
        }
        for continuation in waiting { continuation.resume(returning: true) }
    }
}
