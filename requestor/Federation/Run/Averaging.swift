import Aggregation
import Fleets
import Synchronization
import Tensors

/// The average of a round, worked on by one thread of its own at a time.
final class Averaging: Sendable {
    private let average: Mutex<RoundAverage?>
    /// What stays with each client, after the deltas that were added.
    private let local: Mutex<LocalBatchNorm?>
    /// What the round began with.
    private let start: [Float]

    /// - Parameters:
    ///   - local: what stays with each client; nil where nothing does.
    ///   - start: `[parameters]`, what the round began with.
    init(_ average: RoundAverage, local: LocalBatchNorm? = nil, from start: [Float] = []) {
        self.average = Mutex(average)
        self.local = Mutex(local)
        self.start = start
    }

    /// Adds a delta. Callers wait for one call to return before the next.
    @Sendable func add(_ update: Update) async throws {
        try await onOwnThread(named: "average") { [self] in
            let shared = local.withLock { local in
                local?.keep(update, from: start)
                return local?.shared(update) ?? update
            }
            try average.withLock { try $0?.add(shared) }
        }
    }

    /// What stays with each client, with what was added.
    var kept: LocalBatchNorm? { local.withLock { $0 } }

    /// Does something with the finished average, on the same kind of thread.
    func finish<Result: Sendable>(_ body: @escaping @Sendable ([Double]) throws -> Result) async throws -> Result {
        try await onOwnThread(named: "average") { [self] in
            let whole = average.withLock { average in
                defer { average = nil }
                return average
            }
            guard let whole else { throw DeMLError(.internal, "an average is finished once") }
            return try body(try whole.finish())
        }
    }
}
