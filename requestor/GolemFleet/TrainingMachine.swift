import Federation
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

    /// Performs the steps in order and stops at the first that fails; a step that was not reached has no result.
    ///
    /// - Parameters:
    ///   - limit: when it passes, the machine is lost.
    ///   - onOutput: what the program prints, as it comes; for display only.
    /// - Throws: `GolemError` (`machineLost`, `timedOut`) when the machine is of no more use, `CancellationError`.
    func perform(
        _ steps: [MachineStep], limit: Duration, onOutput: @escaping @Sendable (String) -> Void
    ) async throws -> [StepResult]
}

package enum MachineStep: Sendable, Equatable {
    /// A file from here, to an absolute path on a volume.
    case upload(String, to: String)
    /// A program by its absolute path, with arguments.
    case run([String])
    /// A file from a volume to a path here, at most so many bytes long.
    case download(String, into: String, maximumBytes: Int)
}

package struct StepResult: Sendable, Equatable {
    package var succeeded: Bool
    package var stdout: String
    package var stderr: String
    /// What went wrong, in the provider's words.
    package var message: String?
    /// Of a program that failed: its exit code, or the bare number of the signal that ended it.
    package var exitCode: Int?
    /// A file arrived, but not as it was announced.
    package var isDamaged: Bool

    package init(
        succeeded: Bool, stdout: String = "", stderr: String = "", message: String? = nil, exitCode: Int? = nil,
        isDamaged: Bool = false
    ) {
        self.succeeded = succeeded
        self.stdout = stdout
        self.stderr = stderr
        self.message = message
        self.exitCode = exitCode
        self.isDamaged = isDamaged
    }
}

/// Where machines come from and go to. The real one is ``RentedMachines``, on a pool of the Golem client.
package protocol MachineSource: Sendable {
    /// Waits for another machine that is ready; throws when there is none at all and none can be had.
    func next() async throws -> any TrainingMachine

    /// Gives a machine up; another takes its place.
    /// - Parameters:
    ///   - blame: whether that is the provider's fault.
    ///   - pay: false if it delivered nothing of use.
    func discard(_ machine: any TrainingMachine, because reason: String, blame: Bool, pay: Bool) async

    func expenses() async -> Expenses
}

/// A machine of the Golem client's pool.
struct RentedMachine: TrainingMachine {
    let machine: Machine

    var id: String { machine.id }
    var provider: Provider { Provider(id: machine.providerID, name: machine.providerName) }
    var price: LinearPrice? { machine.offer.price }
    var expiration: Timestamp { machine.expiration }
    var isLost: Bool { machine.lossReason != nil }

    func perform(
        _ steps: [MachineStep], limit: Duration, onOutput: @escaping @Sendable (String) -> Void
    ) async throws -> [StepResult] {
        do {
            return try await open(steps[...], commands: [], limit: limit, onOutput: onOutput)
        } catch let stopped as BatchStopped {
            return stopped.results
        }
    }

    /// The batch ended at a step that failed, so that files behind it do not come.
    private struct BatchStopped: Error {
        var results: [StepResult]
    }

    /// Opens a service for the first file step and goes on with the others; runs the batch when all are open.
    private func open(
        _ steps: ArraySlice<MachineStep>, commands: [Command], limit: Duration,
        onOutput: @escaping @Sendable (String) -> Void
    ) async throws -> [StepResult] {
        guard let step = steps.first else { return try await runBatch(commands, limit: limit, onOutput: onOutput) }
        let rest = steps.dropFirst()
        switch step {
        case .run(let words):
            // The end of both streams is enough: results come as files.
            let command = Command.run(
                words[0], arguments: Array(words.dropFirst()), stdout: .stream(), stderr: .stream())
            return try await open(rest, commands: commands + [command], limit: limit, onOutput: onOutput)
        case .upload(let path, let target):
            return try await machine.client.serving(.file(path)) { url in
                let command = Command.transfer(from: url, to: Command.inMachine(target))
                return try await open(rest, commands: commands + [command], limit: limit, onOutput: onOutput)
            }
        case .download(let source, let path, let maximumBytes):
            do {
                return try await machine.client.receiving(into: path, maximumBytes: maximumBytes) { url in
                    let command = Command.transfer(from: Command.inMachine(source), to: url)
                    return try await open(rest, commands: commands + [command], limit: limit, onOutput: onOutput)
                }.0
            } catch let error as GolemError where error.code == .corrupted {
                throw BatchStopped(results: [StepResult(succeeded: false, message: error.message, isDamaged: true)])
            }
        }
    }

    private func runBatch(
        _ commands: [Command], limit: Duration, onOutput: @escaping @Sendable (String) -> Void
    ) async throws -> [StepResult] {
        let hasProgram = commands.contains { if case .run = $0 { true } else { false } }
        let listen: @Sendable (RuntimeEvent) -> Void = { event in
            if case .stdout(let text) = event.kind { onOutput(text) }
        }
        let batch = try await machine.run(commands, limit: limit, onEvent: hasProgram ? listen : nil)
        let results = batch.results.map { result in
            StepResult(
                succeeded: result.succeeded, stdout: result.stdout ?? "", stderr: result.stderr ?? "",
                message: result.message, exitCode: result.exitCode)
        }
        if !batch.succeeded { throw BatchStopped(results: results) }
        return results
    }
}

/// The Golem client's pool as the fleet sees it.
struct RentedMachines: MachineSource {
    let pool: MachinePool
    let settled: @Sendable ([Expense]) -> Expenses

    func next() async throws -> any TrainingMachine {
        RentedMachine(machine: try await pool.next())
    }

    func discard(_ machine: any TrainingMachine, because reason: String, blame: Bool, pay: Bool) async {
        guard let rented = machine as? RentedMachine else { return }
        await pool.discard(rented.machine, because: reason, blame: blame, pay: pay)
    }

    func expenses() async -> Expenses { settled(await pool.expenses()) }
}
