import Fleets
import Golem

/// A rented machine as the fleet uses it: files in, a program, files out. Real ones are ``RentedMachine``s; tests have
/// machines of their own.
package protocol TrainingMachine: Sendable {
    /// Unique among all machines of a run.
    var id: String { get }
    var provider: Provider { get }
    /// Absent where work is free.
    var price: LinearPrice? { get }
    /// When its agreement ends by itself.
    var expiration: Timestamp { get }
    /// Whether it is known to be gone.
    var isLost: Bool { get }
    /// Why it should be given back between two jobs, as a better one takes its place.
    var retirement: String? { get }

    /// Time since the fleet began that was not this machine's: our own daemon was away, or it or we could not keep up.
    var timeNotIts: Duration { get }

    /// Performs the steps in order and stops at the first that fails. Every step has a result: a file that was announced
    /// and did not come is the failure of its own step.
    ///
    /// - Parameters:
    ///   - limit: when it passes, the machine is lost.
    ///   - onOutput: what the program prints, as it comes; for display only.
    /// - Throws: `GolemError` (`machineLost`, `timedOut`) when the machine is of no more use, `CancellationError`.
    func perform(
        _ batch: MachineBatch, limit: Duration, onOutput: @escaping @Sendable (String) -> Void
    ) async throws -> MachineBatchResults

    /// It did a job, and may be kept for the next one.
    func worked() async

    /// Gives it up; another takes its place.
    /// - Parameters:
    ///   - blame: whether that is the provider's fault.
    ///   - pay: false if it delivered nothing of use.
    func discard(because reason: String, blame: Bool, pay: Bool) async
}

extension TrainingMachine {
    package var timeNotIts: Duration { .zero }
    package var retirement: String? { nil }
}

/// Where machines come from. The real one is ``RentedMachines``, on a pool of the Golem client.
package protocol MachineSource: Sendable {
    /// Waits for another machine that is ready; throws when there is none at all and none can be had.
    func next() async throws -> any TrainingMachine

    func expenses() async -> Expenses

    /// Leaves a provider for the rest of the session.
    /// - Parameter pay: false if nothing that it did was of use.
    func leave(_ provider: Provider, because reason: String, pay: Bool) async

    /// Bills of the provider wait until ``releaseBills(of:)`` is called as often.
    func holdBills(of provider: Provider) async
    func releaseBills(of provider: Provider) async
}

/// A machine of the Golem client's pool.
struct RentedMachine: TrainingMachine {
    let machine: Machine
    let pool: MachinePool

    var id: String { machine.id.rawValue }
    var provider: Provider { Provider(id: machine.providerID.rawValue, name: machine.providerName) }
    var price: LinearPrice? { machine.offer.price }
    var expiration: Timestamp { machine.expiration }
    var isLost: Bool { machine.lossReason != nil }
    var timeNotIts: Duration { machine.client.watch.timeNotTheirs() }
    var retirement: String? { machine.retirement }

    func perform(
        _ batch: MachineBatch, limit: Duration, onOutput: @escaping @Sendable (String) -> Void
    ) async throws -> MachineBatchResults {
        let watch = machine.client.watch
        while true {
            let before = watch.total()
            let results = try await RentedMachineLink(machine: machine, pool: pool).perform(
                batch, limit: limit, onOutput: onOutput)
            // A transfer that broke because our own daemon was away is made again; that costs work, but nobody's name.
            let wasAway = watch.total() - before > DaemonWatch.hiccup
            guard wasAway,
                batch.steps.indices.contains(where: { batch.steps[$0].isTransfer && results[$0].outcome == .failed })
            else { return results }
        }
    }

    func worked() async { await pool.worked(machine) }

    func discard(because reason: String, blame: Bool, pay: Bool) async {
        await pool.discard(machine, because: reason, blame: blame, pay: pay)
    }
}

/// The Golem client's calls for one machine.
private struct RentedMachineLink: MachineLink {
    let machine: Machine
    let pool: MachinePool

    /// The same file for many machines, as weights are, is served once.
    func serving<Value: Sendable>(
        _ path: String, _ window: TransferWindow, _ body: @Sendable @escaping (_ url: String) async throws -> Value
    ) async throws -> Value {
        try await pool.serving(path, window, body)
    }

    func receiving<Value: Sendable>(
        into path: String, maximumBytes: Int, _ window: TransferWindow,
        _ body: @Sendable @escaping (_ url: String) async throws -> Value
    ) async throws -> (Value, ReceivedFile) {
        try await machine.client.receiving(into: path, maximumBytes: maximumBytes, window, body)
    }

    func run(
        _ commands: [Command], limit: Duration, onEvent: (@Sendable (RuntimeEvent) -> Void)?,
        onDone: @Sendable @escaping (Int) -> Void
    ) async throws -> BatchResult {
        try await machine.run(commands, limit: limit, onEvent: onEvent, onDone: onDone)
    }
}

/// The Golem client's pool as the fleet sees it.
struct RentedMachines: MachineSource {
    let pool: MachinePool
    let settled: @Sendable ([Expense]) -> Expenses

    func next() async throws -> any TrainingMachine {
        RentedMachine(machine: try await pool.next(), pool: pool)
    }

    func expenses() async -> Expenses { settled(await pool.expenses()) }

    func leave(_ provider: Provider, because reason: String, pay: Bool) async {
        if let id = NodeID(provider.id) { await pool.leave(id, because: reason, pay: pay) }
    }

    func holdBills(of provider: Provider) async {
        if let id = NodeID(provider.id) { await pool.holdBills(of: id) }
    }

    func releaseBills(of provider: Provider) async {
        if let id = NodeID(provider.id) { await pool.releaseBills(of: id) }
    }
}
