import Fleets
import Foundation
import Golem
import GolemFleet
import Jobs
import Synchronization
import Tensors

/// Machines that exist in this process. Batches go the way that they go to a real one: through ``MachineLink``, and piece
/// by piece through the Golem client's own ends of a file transfer; "training" writes a delta whose values follow from the
/// shard's number.
struct FakeMachine: TrainingMachine {
    /// What is wrong with a provider.
    enum Fault: Sendable, Equatable {
        case none
        /// Every batch with a program is lost.
        case dies
        /// Programs never end.
        case hangs
        /// The first so many downloads of deltas arrive damaged.
        case damages(Int)
        /// The program ends with a code; with a report, if there is a message.
        case exits(Int, String?)
        /// Of each file, the first so many downloads are reported as done without a byte being sent.
        case claims(Int)
        /// Every result is told twice.
        case tellsTwice
        /// Its agreement holds so many seconds.
        case holds(Double)
        /// The same, and its programs take longer than that.
        case brief(Double)
        /// No file arrives in it.
        case takesNothing
        /// Its program stops after one step and says so.
        case lazy
        /// What its program prints is lost.
        case silent
        /// There is no room for what its program makes, and the report says so.
        case full
        /// Its program prints so many empty lines.
        case prints(Int)
    }

    let id: String
    let provider: Provider
    let price: LinearPrice? = LinearPrice(perSecond: 0.001, perCPUSecond: 0, start: 0)
    var expiration: Timestamp = .now() + .seconds(36_000)
    let fault: Fault
    let folder: String
    let log: FakeLog
    /// Told of machines that are given up.
    let source: FakeSource

    var isLost: Bool { log.lost.contains(id) }

    func perform(
        _ batch: MachineBatch, limit: Duration, onOutput: @escaping @Sendable (String) -> Void
    ) async throws -> MachineBatchResults {
        try await FakeLink(machine: self).perform(batch, limit: limit, onOutput: onOutput)
    }

    func worked() async { log.add("\(id) worked") }

    func discard(because reason: String, blame: Bool, pay: Bool) async {
        source.discarded(self, blame: blame, pay: pay)
    }

    /// Runs commands as an exe-unit does: one result each, up to the first that fails.
    fileprivate func execute(
        _ commands: [Command], limit: Duration, _ files: FakeFiles, _ onOutput: (String) -> Void,
        _ onDone: (Int) -> Void
    ) async throws -> BatchResult {
        var told: [JSON] = []
        for (index, command) in commands.enumerated() {
            var result: [String: JSON] = ["index": JSON(index), "result": "Ok"]
            do {
                let text = try await execute(command, limit: limit, files)
                if let text {
                    result["stdout"] = .string(text)
                    onOutput(text)
                }
            } catch let failure as FakeFailure {
                result["result"] = "Error"
                result["message"] = .string(failure.message)
                result["stderr"] = .string(failure.stderr)
            }
            let isLast = index == commands.count - 1 || result["result"] == "Error"
            result["isBatchFinished"] = .bool(isLast)
            told.append(.object(result))
            if fault == .tellsTwice { told.append(.object(result)) }
            if isLast { break }
            onDone(index + 1)
        }
        return BatchResult(told: try told.map { try CommandResult($0) }, commandCount: commands.count)
    }

    /// - Returns: what a program printed.
    private func execute(_ command: Command, limit: Duration, _ files: FakeFiles) async throws -> String? {
        switch command {
        case .transfer(let from, let to) where from.hasPrefix("gftp:"):
            let target = String(to.dropFirst("container:".count))
            log.add("\(id) upload \(Files.name(of: target))")
            if fault == .takesNothing { throw FakeFailure(message: "No space left on device") }
            try write(try files.fetch(from), to: inside(target))
            return nil
        case .transfer(let from, let to):
            let source = String(from.dropFirst("container:".count))
            log.add("\(id) download \(Files.name(of: source))")
            if case .claims(let count) = fault, log.damage(id + source, upTo: count) { return nil }
            guard Files.exists(inside(source)) else { throw FakeFailure(message: "No such file or directory") }
            var bytes = try Files.read(inside(source), maximumBytes: 1 << 24)
            if case .damages(let count) = fault, source.contains("delta"), log.damage(id, upTo: count) {
                bytes[bytes.count / 2] ^= 0xff
            }
            try await files.send(bytes, to: to)
            return nil
        case .run(_, let words, _, _):
            log.add("\(id) run \(words.joined(separator: " "))")
            if fault == .dies {
                log.lose(id)
                throw GolemError(.machineLost, "the machine is lost: it died", place: provider.name)
            }
            if case .brief = fault { try await hang(limit) }
            if fault == .hangs { try await hang(limit) }
            return try train(words)
        default:
            return nil
        }
    }

    /// What a batch whose program never ends comes to: its limit, or the end of the agreement if that is first.
    private func hang(_ limit: Duration) async throws {
        let rest = expiration - .now()
        defer { log.lose(id) }
        try await Task.sleep(for: min(limit, rest))
        throw limit <= rest
            ? GolemError(.timedOut, "it did not end")
            : GolemError(.expired, "the machine is lost: its agreement ended as agreed")
    }

    private func write(_ bytes: [UInt8], to path: String) throws {
        try Files.createDirectory(Files.parent(of: path)!)
        try Files.writeAtomically(bytes, to: path)
    }

    private func inside(_ path: String) -> String { folder + path.replacingOccurrences(of: "/golem", with: "") }

    /// The result that every machine gives for the same files.
    private func train(_ words: [String]) throws -> String {
        guard words.count == 2, words[0] == "run" else {
            throw FakeFailure(message: "ExeScript command exited with code 64")
        }
        let job = try WorkerJob(json: words[1].utf8)
        let report = inside(job.report)
        try Files.createDirectory(Files.parent(of: report)!)
        if fault == .full {
            let error = DeMLError(.diskFull, "it cannot be written: No space left on device")
            try Receipt(command: "train", stage: Stage("write-delta", file: job.output), error: error).write(to: report)
            throw FakeFailure(message: "ExeScript command exited with code 74", stderr: "deml-worker: no space\n")
        }
        if case .exits(let code, let message) = fault {
            if let message {
                let refusal = Receipt.Refusal(stage: "read-shard", message: message)
                try Receipt(command: "train", outcome: .refused(refusal)).write(to: report)
            }
            throw FakeFailure(
                message: "ExeScript command exited with code \(code)", stderr: "deml-worker: \(message ?? "")\n")
        }
        if case .predict = job.kind { return try predict(job, report) }
        let (weightsFile, weightsSHA256) = try Safetensors.load(inside(try job.input(.weights).path))
        let (shard, shardSHA256) = try Safetensors.load(inside(try job.input(.shard).path))
        let model = try FakeRun.weights(weightsFile).model
        let examples = shard["y"]!.count
        let steps = fault == .lazy ? 1 : FakeRun.options.steps(examples: examples)
        var delta = Delta(
            parameters: [Float](repeating: Float(examples), count: model.parameterCount), examples: examples,
            steps: steps, weightsSHA256: weightsSHA256, shardSHA256: shardSHA256, options: FakeRun.options)
        try delta.write(to: inside(try job.outputPath()), model: model)
        let training = Receipt.Training(
            examples: examples, steps: steps, epochs: [.init(loss: 0.5, accuracy: 0.9, seconds: 0.01)],
            stoppedEarly: fault == .lazy,
            machine: .init(seconds: 0.01, samplesPerSecond: 1000, threads: 1, isa: "portable"),
            digests: .init(weights: weightsSHA256, shard: shardSHA256, output: delta.sha256))
        try Receipt(command: "train", outcome: .trained(training)).write(to: report)
        if fault == .silent { return "" }
        if case .prints(let count) = fault { return String(repeating: "\n", count: count) }
        return "epoch 1/1 loss 0.5 accuracy 0.9 samples_per_second 1000\ndelta_sha256 \(delta.sha256!)\n"
    }

    /// Every machine says the number of examples of each; a lazy one leaves the last out.
    private func predict(_ job: WorkerJob, _ report: String) throws -> String {
        let weightsSHA256 = try Safetensors.digestOfContents(of: inside(try job.input(.weights).path))
        let (shard, shardSHA256) = try Safetensors.load(inside(try job.input(.shard).path))
        let examples = shard["x"]!.shape[0]
        let rows = fault == .lazy ? examples - 1 : examples
        let values = [Float](repeating: Float(examples), count: 2 * rows)
        let sha256 = try Safetensors(tensors: [("predictions", Tensor(shape: [rows, 2], floats: values))])
            .write(to: inside(try job.outputPath()))
        let prediction = Receipt.Prediction(
            examples: examples, machine: .init(seconds: 0.01, samplesPerSecond: 1000, threads: 1, isa: "portable"),
            digests: .init(weights: weightsSHA256, shard: shardSHA256, output: sha256))
        try Receipt(command: "predict", outcome: .predicted(prediction)).write(to: report)
        return ""
    }
}

/// A command that ended with an error.
private struct FakeFailure: Error {
    var message: String
    var stderr = ""
}

/// The way to a fake machine: files are served and received by the Golem client's own readers and writers.
private struct FakeLink: MachineLink {
    let machine: FakeMachine
    let files = FakeFiles()

    func serving<Value: Sendable>(
        _ path: String, _ window: TransferWindow, _ body: @Sendable @escaping (_ url: String) async throws -> Value
    ) async throws -> Value {
        let reader = try SourceReader(.file(path))
        return try await body(files.open(.reader(reader), window))
    }

    func receiving<Value: Sendable>(
        into path: String, maximumBytes: Int, _ window: TransferWindow,
        _ body: @Sendable @escaping (_ url: String) async throws -> Value
    ) async throws -> (Value, ReceivedFile) {
        let upload = try Upload(path: path, maximumBytes: maximumBytes)
        defer { upload.discard() }
        let value = try await body(files.open(.upload(upload), window))
        return (value, try await upload.conclude())
    }

    func run(
        _ commands: [Command], limit: Duration, onEvent: (@Sendable (RuntimeEvent) -> Void)?,
        onDone: @Sendable @escaping (Int) -> Void
    ) async throws -> BatchResult {
        let output: (String) -> Void = { text in
            let event = try? RuntimeEvent(["index": 0, "kind": ["stdout": .string(text)]])
            if let event { onEvent?(event) }
        }
        return try await machine.execute(commands, limit: limit, files, output, onDone)
    }
}

/// Files that are bound for a machine, by address, as an exe-unit sees them: asked for and sent piece by piece. Of a batch
/// one is served at a time, that of the command which runs.
private final class FakeFiles: Sendable {
    enum End {
        case reader(SourceReader)
        case upload(Upload)
    }

    private let ends = Mutex([String: (end: End, window: TransferWindow)]())

    func open(_ end: End, _ window: TransferWindow) -> String {
        ends.withLock { ends in
            let url = "gftp://0x0/\(ends.count)"
            ends[url] = (end, window)
            return url
        }
    }

    /// What is served at an address now.
    private func end(_ url: String) throws -> End {
        let (end, open) = ends.withLock { ends in (ends[url], ends.filter { $0.value.window.isOpen }.map(\.key)) }
        guard let end else { throw FakeFailure(message: "nothing is bound at \(url)") }
        guard open == [url] else { throw FakeFailure(message: "\(open) are served, \(url) is wanted") }
        return end.end
    }

    func fetch(_ url: String) throws -> [UInt8] {
        guard case .reader(let reader) = try end(url) else {
            throw FakeFailure(message: "nothing is offered at \(url)")
        }
        let size = try reader.answer("GetMetadata", .null)["fileSize"]?.integer ?? 0
        var bytes: [UInt8] = []
        while bytes.count < size {
            let chunk = try reader.answer(
                "GetChunk", .map(["offset": .uint(UInt64(bytes.count)), "size": .uint(40 << 10)]))
            bytes += chunk["content"]?.bytes ?? []
        }
        return bytes
    }

    func send(_ bytes: [UInt8], to url: String) async throws {
        guard case .upload(let upload) = try end(url) else {
            throw FakeFailure(message: "nothing is received at \(url)")
        }
        for offset in stride(from: 0, to: bytes.count, by: 40 << 10) {
            let content = FlexValue.blob(bytes[offset..<min(offset + (40 << 10), bytes.count)])
            _ = try await upload.answer(
                "UploadChunk", .map(["chunk": .map(["offset": .uint(UInt64(offset)), "content": content])]))
        }
        _ = try await upload.answer("UploadFinished", .map(["hash": .null]))
    }
}

/// What happened to fake machines.
final class FakeLog: Sendable {
    private let state = Mutex((lines: [String](), lost: Set<String>(), damaged: [String: Int]()))

    var lines: [String] { state.withLock { $0.lines } }
    var lost: Set<String> { state.withLock { $0.lost } }
    func add(_ line: String) { state.withLock { $0.lines.append(line) } }
    func lose(_ id: String) { state.withLock { _ = $0.lost.insert(id) } }
    func count(_ part: String) -> Int { lines.count { $0.contains(part) } }

    /// Whether a machine is to damage one more file.
    func damage(_ id: String, upTo count: Int) -> Bool {
        state.withLock { state in
            state.damaged[id, default: 0] += 1
            return state.damaged[id]! <= count
        }
    }
}

/// A market on which providers are had one after another; a provider that is blamed twice is left.
final class FakeSource: MachineSource {
    private let state: Mutex<(providers: [(String, FakeMachine.Fault)], blames: [String: Int], made: Int)>
    private let folder: String
    private let arrivals: AsyncStream<FakeMachine>
    private let arrival: AsyncStream<FakeMachine>.Continuation
    let log = FakeLog()

    init(_ providers: [(String, FakeMachine.Fault)], folder: String) {
        state = Mutex((providers, [:], 0))
        self.folder = folder
        (arrivals, arrival) = AsyncStream.makeStream()
        for (name, fault) in providers { make(name, fault) }
    }

    private func make(_ name: String, _ fault: FakeMachine.Fault) {
        let number = state.withLock { state in
            state.made += 1
            return state.made
        }
        var machine = FakeMachine(
            id: "\(name)#\(number)", provider: Provider(id: "0x" + name, name: name), fault: fault,
            folder: "\(folder)/\(name)-\(number)", log: log, source: self)
        switch fault {
        case .brief(let seconds), .holds(let seconds): machine.expiration = .now() + .seconds(seconds)
        default: break
        }
        arrival.yield(machine)
    }

    func next() async throws -> any TrainingMachine {
        for await machine in arrivals { return machine }
        throw CancellationError()
    }

    func discarded(_ machine: FakeMachine, blame: Bool, pay: Bool) {
        log.add("\(machine.id) discard blame \(blame) pay \(pay)")
        let name = machine.provider.name
        let again = state.withLock { state -> FakeMachine.Fault? in
            if blame { state.blames[name, default: 0] += 1 }
            return state.blames[name, default: 0] < 2 ? state.providers.first { $0.0 == name }?.1 : nil
        }
        if let again { make(name, again) }
    }

    func expenses() async -> Expenses { Expenses(costGLM: 0.5) }

    func leave(_ provider: Provider, because reason: String, pay: Bool) async {
        log.add("leave \(provider.name) pay \(pay)")
    }

    func holdBills(of provider: Provider) async { log.add("hold \(provider.name)") }
    func releaseBills(of provider: Provider) async { log.add("release \(provider.name)") }
}
