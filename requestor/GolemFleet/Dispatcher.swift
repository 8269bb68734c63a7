import Golem
import Waiting

/// The machines of a session and who waits for one.
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

    private let queue: WaitQueue<LeasedMachines>

    init(target: Int) {
        queue = WaitQueue(LeasedMachines(queue: MachineQueue(target: target)))
    }

    /// Waits for a machine, one that has these inputs if there is one; cancellation ends the waiting.
    func acquire(inputs: Set<String>, avoiding: Set<String>) async throws -> Lease {
        try await queue.wait(for: .init(inputs: inputs, avoiding: avoiding, since: .now))
    }

    func add(_ machine: any TrainingMachine) {
        let lease = Lease(machine: machine, agreementSeconds: (machine.expiration - .now()).inSeconds)
        queue.update { $0.arrived(lease) }
    }

    /// The machine did its work and may have more.
    func release(_ lease: Lease) { queue.update { $0.returned(lease) } }

    func remove(_ lease: Lease) { queue.update { $0.gone(lease) } }

    /// Machines of a provider that is left. One that is lent comes back as lost.
    func removeIdle(of provider: String) { queue.update { $0.left(provider) } }

    /// Requests that have waited for longer than `patience` take whatever machine there is.
    func loosen(after patience: Duration) {
        let now = ContinuousClock.now
        queue.update { $0.patienceOver(before: now - patience) }
    }

    /// Everyone who waits, and everyone who comes, gets this error.
    func fail(_ error: any Error) { queue.update { $0.failed(error) } }

    /// Multiply-adds a second of the slowest machine, as far as they have been shown in this run.
    var slowestSpeed: Double? { queue.read { $0.speeds.values.min() } }
}

/// A ``MachineQueue`` and what is in its machines.
private struct LeasedMachines: WaitedResource {
    struct Request: Sendable {
        var inputs: Set<String>
        var avoiding: Set<String>
        var since: ContinuousClock.Instant
    }

    typealias Lease = Dispatcher.Lease

    var queue: MachineQueue
    private var leases: [String: Lease] = [:]
    /// Of machines in `leases`, once shown.
    private(set) var speeds: [String: Double] = [:]
    private var waitingSince: [WaitTicket: ContinuousClock.Instant] = [:]
    private var failure: (any Error)?

    init(queue: MachineQueue) {
        self.queue = queue
    }

    mutating func requested(_ ticket: WaitTicket, _ request: Request) -> [WaitAnswer<Lease>] {
        if let failure { return [WaitAnswer(ticket, .failure(failure))] }
        waitingSince[ticket] = request.since
        return granted(queue.request(.init(id: ticket, inputs: request.inputs, avoiding: request.avoiding)))
    }

    mutating func withdrawn(_ ticket: WaitTicket) -> [WaitAnswer<Lease>] {
        waitingSince[ticket] = nil
        queue.cancel(ticket)
        return []
    }

    mutating func returned(_ lease: Lease) -> [WaitAnswer<Lease>] {
        leases[lease.machine.id] = lease
        speeds[lease.machine.id] = lease.speed
        return granted(queue.finished(lease.machine.id, files: Set(lease.files.values), speed: lease.speed))
    }

    mutating func arrived(_ lease: Lease) -> [WaitAnswer<Lease>] {
        leases[lease.machine.id] = lease
        return granted(queue.arrived(.init(id: lease.machine.id, provider: lease.machine.provider.id)))
    }

    mutating func gone(_ lease: Lease) -> [WaitAnswer<Lease>] {
        leases[lease.machine.id] = nil
        speeds[lease.machine.id] = nil
        return granted(queue.gone(lease.machine.id))
    }

    /// Machines of a provider that nobody has at the moment.
    mutating func left(_ provider: String) -> [WaitAnswer<Lease>] {
        let idle = leases.filter { $0.value.machine.provider.id == provider && queue.idle.contains($0.key) }
        return idle.values.sorted { $0.machine.id < $1.machine.id }.flatMap { gone($0) }
    }

    mutating func patienceOver(before time: ContinuousClock.Instant) -> [WaitAnswer<Lease>] {
        let late = waitingSince.filter { $0.value < time }.keys.sorted()
        return late.flatMap { granted(queue.patienceOver($0)) }
    }

    mutating func failed(_ error: any Error) -> [WaitAnswer<Lease>] {
        failure = failure ?? error
        let all = waitingSince.keys.sorted()
        return all.flatMap { ticket in withdrawn(ticket) + [WaitAnswer(ticket, .failure(error))] }
    }

    private mutating func granted(_ assignments: [MachineQueue.Assignment]) -> [WaitAnswer<Lease>] {
        assignments.compactMap { assignment in
            guard let lease = leases[assignment.machine] else { return nil }
            waitingSince[assignment.request] = nil
            return WaitAnswer(assignment.request, .success(lease))
        }
    }
}
