import Aggregation
import Fleets
import Synchronization
import Tensors

/// The average of a round, worked on by one thread of its own at a time.
final class Averaging: Sendable {
    private let average: Mutex<RoundAverage?>

    init(_ average: RoundAverage) {
        self.average = Mutex(average)
    }

    /// Adds a delta. Callers wait for one call to return before the next.
    @Sendable func add(_ update: Update) async throws {
        try await onOwnThread(named: "average") { [self] in
            try average.withLock { try $0?.add(update) }
        }
    }

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
