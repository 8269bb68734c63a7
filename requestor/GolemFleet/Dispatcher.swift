import Golem
import Synchronization

/// The machines of a session and who waits for one: a ``MachineQueue`` with tasks waiting on it.
///
/// Every call is a short critical section; continuations are resumed outside.
final class Dispatcher: Sendable {
    /// A machine for one job. What is in it is the fleet's until ``release(_:)`` or ``remove(_:)``.
    struct Lease: Sendable {
        var machine: any TrainingMachine
        /// Digests of the files that are in the machine, by the paths at which they lie there.
        var files: [String: String] = [:]
        /// Good answers it gave.
        var answers = 0
        /// Multiply-adds a second in this run.
        var speed: Double?
        /// Seconds that its agreement had when the machine came.
        var agreementSeconds: Double
    }

    private struct Waiting {
        var continuation: CheckedContinuation<Lease, any Error>
        var since: ContinuousClock.Instant
    }

    private struct State {
        var queue: MachineQueue
        var leases: [String: Lease] = [:]
        var waiting: [Int: Waiting] = [:]
        var cancelled: Set<Int> = []
        var next = 0
        var failure: (any Error)?
    }

    private let state: Mutex<State>

    init(target: Int) {
        state = Mutex(State(queue: MachineQueue(target: target)))
    }

    /// Waits for a machine, one that has these inputs if there is one; cancellation ends the waiting.
    func acquire(inputs: Set<String>, avoiding: Set<String>) async throws -> Lease {
        let id = state.withLock { state in
            state.next += 1
            return state.next
        }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                perform { state in
                    if let failure = state.failure { return ([], [(continuation, failure)]) }
                    if state.cancelled.remove(id) != nil { return ([], [(continuation, CancellationError())]) }
                    state.waiting[id] = Waiting(continuation: continuation, since: .now)
                    return (state.queue.request(.init(id: id, inputs: inputs, avoiding: avoiding)), [])
                }
            }
        } onCancel: {
            perform { state in
                state.queue.cancel(id)
                guard let waiting = state.waiting.removeValue(forKey: id) else {
                    state.cancelled.insert(id)
                    return ([], [])
                }
                return ([], [(waiting.continuation, CancellationError())])
            }
        }
    }

    func add(_ machine: any TrainingMachine) {
        perform { state in
            state.leases[machine.id] = Lease(
                machine: machine, agreementSeconds: (machine.expiration - .now()).inSeconds)
            return (state.queue.arrived(.init(id: machine.id, provider: machine.provider.id)), [])
        }
    }

    /// The machine did its work and may have more.
    func release(_ lease: Lease) {
        perform { state in
            state.leases[lease.machine.id] = lease
            return (state.queue.finished(lease.machine.id, files: Set(lease.files.values), speed: lease.speed), [])
        }
    }

    func remove(_ lease: Lease) {
        perform { state in
            state.leases[lease.machine.id] = nil
            return (state.queue.gone(lease.machine.id), [])
        }
    }

    /// Requests that have waited for longer than `patience` take whatever machine there is.
    func loosen(after patience: Duration) {
        perform { state in
            let now = ContinuousClock.now
            let late = state.waiting.filter { now - $0.value.since > patience }.keys.sorted()
            return (late.flatMap { state.queue.patienceOver($0) }, [])
        }
    }

    /// Everyone who waits, and everyone who comes, gets this error.
    func fail(_ error: any Error) {
        perform { state in
            state.failure = state.failure ?? error
            defer { state.waiting = [:] }
            return ([], state.waiting.values.map { ($0.continuation, error) })
        }
    }

    /// Multiply-adds a second that machines have shown in this run.
    var speeds: [Double] { state.withLock { $0.leases.values.compactMap(\.speed) } }

    private typealias Refused = (CheckedContinuation<Lease, any Error>, any Error)

    private func perform(_ body: (inout sending State) -> ([MachineQueue.Assignment], [Refused])) {
        let (granted, refused) = state.withLock { state in
            let (assignments, refused) = body(&state)
            let granted = assignments.compactMap { assignment -> (CheckedContinuation<Lease, any Error>, Lease)? in
                guard let waiting = state.waiting.removeValue(forKey: assignment.request),
                    let lease = state.leases[assignment.machine]
                else { return nil }
                return (waiting.continuation, lease)
            }
            return (granted, refused)
        }
        for (continuation, lease) in granted { continuation.resume(returning: lease) }
        for (continuation, error) in refused { continuation.resume(throwing: error) }
    }
}
