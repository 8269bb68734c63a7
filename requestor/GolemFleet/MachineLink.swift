import Golem
import Waiting

/// What a batch needs of a machine and of the network between: the Golem client's calls. Real ones are those of a rented
/// machine; tests answer in its place, with everything above and below as it is.
package protocol MachineLink: Sendable {
    /// Offers a file under the address that `body` gets, which is valid while that runs; it is fetched within the window.
    func serving<Value: Sendable>(
        _ path: String, _ window: TransferWindow, _ body: @Sendable @escaping (_ url: String) async throws -> Value
    ) async throws -> Value

    /// Takes a file while `body` runs, which gets the address to send it to within the window; checks it and puts it at
    /// `path`.
    func receiving<Value: Sendable>(
        into path: String, maximumBytes: Int, _ window: TransferWindow,
        _ body: @Sendable @escaping (_ url: String) async throws -> Value
    ) async throws -> (Value, ReceivedFile)

    /// Runs commands and waits for their end; `onDone` is told how many are done.
    func run(
        _ commands: [Command], limit: Duration, onEvent: (@Sendable (RuntimeEvent) -> Void)?,
        onDone: @Sendable @escaping (Int) -> Void
    ) async throws -> BatchResult
}

extension MachineLink {
    /// Performs a batch: binds an address for each file, all at once, and runs the commands when all are bound. A file is
    /// served while its own command runs: a hundred machines that compute hold no connections for what they have got, or
    /// will send when they are done.
    /// - Throws: what the link throws when the machine is of no more use, or when a file here cannot be read or written.
    package func perform(
        _ batch: MachineBatch, limit: Duration, onOutput: @escaping @Sendable (String) -> Void
    ) async throws -> MachineBatchResults {
        let windows = batch.steps.map { _ in TransferWindow() }
        let addresses = batch.steps.map { _ in OneShot<String>() }
        let isOver = OneShot<Void>()
        let damages = Shared<[Int: String]>([:])
        return try await withThrowingTaskGroup(of: MachineBatchResults?.self) { group in
            for (position, step) in batch.steps.enumerated() {
                let window = windows[position]
                let open: @Sendable (String) async throws -> Void = { url in
                    addresses[position].set(url)
                    try await isOver.wait()
                }
                switch step {
                case .run: break
                case .upload(let path, _):
                    group.addTask {
                        try await serving(path, window, open)
                        return nil
                    }
                case .download(_, let path, let maximumBytes):
                    group.addTask {
                        // What came of the other steps stands, whatever became of this file.
                        do {
                            _ = try await receiving(into: path, maximumBytes: maximumBytes, window, open)
                        } catch let error as GolemError where error.code == .corrupted && isOver.value != nil {
                            damages.with { $0[position] = error.message }
                        }
                        return nil
                    }
                }
            }
            group.addTask {
                var commands: [Command] = []
                for (position, step) in batch.steps.enumerated() {
                    switch step {
                    case .run(let words):
                        // The end of both streams is enough: results come as files.
                        commands.append(
                            .run(words[0], arguments: Array(words.dropFirst()), stdout: .stream(), stderr: .stream()))
                    case .upload(_, let target):
                        let url = try await addresses[position].wait()
                        commands.append(.transfer(from: url, to: Command.inMachine(target)))
                    case .download(let source, _, _):
                        let url = try await addresses[position].wait()
                        commands.append(.transfer(from: Command.inMachine(source), to: url))
                    }
                }
                let results = try await runCommands(commands, windows, of: batch, limit: limit, onOutput: onOutput)
                isOver.set(())
                return results
            }
            var results: MachineBatchResults?
            while let ended = try await group.next() { results = ended ?? results }
            guard var results else { throw CancellationError() }
            for (position, message) in damages.with({ $0 }) where results[position].isDone {
                // Where the provider itself says that it failed, or was not reached, no file is to be expected.
                results[position] = StepResult(.failed, message: message)
            }
            return results
        }
    }

    private func runCommands(
        _ commands: [Command], _ windows: [TransferWindow], of batch: MachineBatch, limit: Duration,
        onOutput: @escaping @Sendable (String) -> Void
    ) async throws -> MachineBatchResults {
        let done: @Sendable (Int) -> Void = { count in
            for window in windows.prefix(count) { window.close() }
            if count < windows.count { windows[count].open() }
        }
        done(0)
        let hasProgram = commands.contains { if case .run = $0 { true } else { false } }
        let listen: @Sendable (RuntimeEvent) -> Void = { event in
            if case .stdout(let text) = event.kind { onOutput(text) }
        }
        let answer = try await run(commands, limit: limit, onEvent: hasProgram ? listen : nil, onDone: done)
        var results = MachineBatchResults(of: batch)
        for result in answer.results {
            results[result.index] = StepResult(
                result.succeeded ? .done : .failed, stdout: StepResult.end(of: result.stdout),
                stderr: StepResult.end(of: result.stderr), message: result.message, exitCode: result.exitCode)
        }
        return results
    }
}
