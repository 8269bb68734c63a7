import Golem

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
    /// Performs a batch: binds an address for each file, then runs the commands. A file is served while its own command runs:
    /// a hundred machines that compute hold no connections for what they have got, or will send when they are done.
    /// - Throws: what the link throws when the machine is of no more use, or when a file here cannot be read or written.
    package func perform(
        _ batch: MachineBatch, limit: Duration, onOutput: @escaping @Sendable (String) -> Void
    ) async throws -> MachineBatchResults {
        let windows = batch.steps.map { $0.isTransfer ? TransferWindow() : nil }
        return try await bind(batch, windows, from: 0, commands: [], limit: limit, onOutput: onOutput)
    }

    /// Binds an address for the first step from `position` on and goes on with the others; runs the commands, one a step,
    /// when all are bound.
    private func bind(
        _ batch: MachineBatch, _ windows: [TransferWindow?], from position: Int, commands: [Command], limit: Duration,
        onOutput: @escaping @Sendable (String) -> Void
    ) async throws -> MachineBatchResults {
        guard position < batch.steps.count else {
            return try await runCommands(commands, windows, of: batch, limit: limit, onOutput: onOutput)
        }
        let rest: @Sendable (Command) async throws -> MachineBatchResults = { command in
            try await bind(
                batch, windows, from: position + 1, commands: commands + [command], limit: limit, onOutput: onOutput)
        }
        let window = windows[position] ?? TransferWindow()
        switch batch.steps[position] {
        case .run(let words):
            // The end of both streams is enough: results come as files.
            return try await rest(
                .run(words[0], arguments: Array(words.dropFirst()), stdout: .stream(), stderr: .stream()))
        case .upload(let path, let target):
            return try await serving(path, window) { url in
                try await rest(.transfer(from: url, to: Command.inMachine(target)))
            }
        case .download(let source, let path, let maximumBytes):
            // What came of the other steps stands, whatever became of this file.
            let results = Shared<MachineBatchResults?>(nil)
            do {
                _ = try await receiving(into: path, maximumBytes: maximumBytes, window) { url in
                    let known = try await rest(.transfer(from: Command.inMachine(source), to: url))
                    results.with { $0 = known }
                }
            } catch let error as GolemError where error.code == .corrupted {
                guard var known = results.with({ $0 }) else { throw error }
                // Where the provider itself says that it failed, or was not reached, no file is to be expected.
                if known[position].isDone { known[position] = StepResult(.failed, message: error.message) }
                return known
            }
            guard let known = results.with({ $0 }) else { throw CancellationError() }
            return known
        }
    }

    private func runCommands(
        _ commands: [Command], _ windows: [TransferWindow?], of batch: MachineBatch, limit: Duration,
        onOutput: @escaping @Sendable (String) -> Void
    ) async throws -> MachineBatchResults {
        let done: @Sendable (Int) -> Void = { count in
            for window in windows.prefix(count) { window?.close() }
            if count < windows.count { windows[count]?.open() }
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
