import Federation
import Foundation
import Golem
import GolemFleet
import Jobs
import Synchronization
import Tensors

/// Machines that exist in this process: files are copied between folders, and "training" writes a delta whose values
/// follow from the shard's number.
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
    }

    let id: String
    let provider: Provider
    let price: LinearPrice? = LinearPrice(perSecond: 0.001, perCPUSecond: 0, start: 0)
    var expiration: Timestamp { .now() + .seconds(36_000) }
    let fault: Fault
    let folder: String
    let log: FakeLog

    var isLost: Bool { log.lost.contains(id) }

    func perform(
        _ steps: [MachineStep], limit: Duration, onOutput: @escaping @Sendable (String) -> Void
    ) async throws -> [StepResult] {
        var results: [StepResult] = []
        for step in steps {
            switch step {
            case .upload(let path, let target):
                try copy(path, inside(target))
                log.add("\(id) upload \(Files.name(of: target))")
                results.append(StepResult(succeeded: true))
            case .run(let words):
                log.add("\(id) run")
                if fault == .dies {
                    log.lose(id)
                    throw GolemError(.machineLost, "the machine is lost: it died", place: provider.name)
                }
                if fault == .hangs {
                    do {
                        try await Task.sleep(for: limit)
                    } catch {
                        log.lose(id)
                        throw error
                    }
                    log.lose(id)
                    throw GolemError(.timedOut, "it did not end")
                }
                let result = try train(words)
                onOutput(result.stdout)
                results.append(result)
                if !result.succeeded { return results }
            case .download(let source, let path, _):
                guard Files.exists(inside(source)) else {
                    results.append(StepResult(succeeded: false, message: "No such file or directory"))
                    return results
                }
                try copy(inside(source), path)
                if case .damages(let count) = fault, source.contains("delta"), log.damage(id, upTo: count) {
                    var bytes = try Files.read(path, maximumBytes: 1 << 20)
                    bytes[bytes.count / 2] ^= 0xff
                    try Files.writeAtomically(bytes, to: path)
                }
                log.add("\(id) download \(Files.name(of: source))")
                results.append(StepResult(succeeded: true))
            }
        }
        return results
    }

    private func inside(_ path: String) -> String { folder + path.replacingOccurrences(of: "/golem", with: "") }

    private func copy(_ source: String, _ target: String) throws {
        try Files.createDirectory(Files.parent(of: target)!)
        try Files.writeAtomically(try Files.read(source, maximumBytes: 1 << 24), to: target)
    }

    /// The result that every machine gives for the same files.
    private func train(_ words: [String]) throws -> StepResult {
        guard words.count == 3, words[0] == "/usr/local/bin/deml-worker", words[1] == "run" else {
            return StepResult(succeeded: false, message: "exited with code 64", exitCode: 64)
        }
        let job = try WorkerJob(json: words[2].utf8)
        let report = inside(job.report)
        try Files.createDirectory(Files.parent(of: report)!)
        if case .exits(let code, let message) = fault {
            if let message {
                let refusal = Receipt.Refusal(stage: "read-shard", message: message)
                try Receipt(command: "train", outcome: .refused(refusal)).write(to: report)
            }
            return StepResult(
                succeeded: false, stderr: "deml-worker: \(message ?? "")\n", message: "exited with code \(code)",
                exitCode: code)
        }
        let (weightsFile, weightsSHA256) = try Safetensors.load(inside(try job.input(.weights).path))
        let (shard, shardSHA256) = try Safetensors.load(inside(try job.input(.shard).path))
        let model = try FakeRun.weights(weightsFile).model
        let examples = shard["y"]!.count
        let steps = FakeRun.options.steps(examples: examples)
        var delta = Delta(
            parameters: [Float](repeating: Float(examples), count: model.parameterCount), examples: examples,
            steps: steps, weightsSHA256: weightsSHA256, shardSHA256: shardSHA256, options: FakeRun.options)
        try delta.write(to: inside(try job.outputPath()), model: model)
        let training = Receipt.Training(
            examples: examples, steps: steps, epochs: [.init(loss: 0.5, accuracy: 0.9, seconds: 0.01)],
            stoppedEarly: false, machine: .init(seconds: 0.01, samplesPerSecond: 1000, threads: 1, isa: "portable"),
            digests: .init(weights: weightsSHA256, shard: shardSHA256, output: delta.sha256))
        try Receipt(command: "train", outcome: .trained(training)).write(to: report)
        return StepResult(
            succeeded: true,
            stdout: "epoch 1/1 loss 0.5 accuracy 0.9 samples_per_second 1000\ndelta_sha256 \(delta.sha256!)\n")
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
        arrival.yield(
            FakeMachine(
                id: "\(name)#\(number)", provider: Provider(id: "0x" + name, name: name), fault: fault,
                folder: "\(folder)/\(name)-\(number)", log: log))
    }

    func next() async throws -> any TrainingMachine {
        for await machine in arrivals { return machine }
        throw CancellationError()
    }

    func discard(_ machine: any TrainingMachine, because reason: String, blame: Bool, pay: Bool) async {
        log.add("\(machine.id) discard blame \(blame) pay \(pay)")
        let name = machine.provider.name
        let again = state.withLock { state -> FakeMachine.Fault? in
            if blame { state.blames[name, default: 0] += 1 }
            return state.blames[name, default: 0] < 2 ? state.providers.first { $0.0 == name }?.1 : nil
        }
        if let again { make(name, again) }
    }

    func expenses() async -> Expenses { Expenses(costGLM: 0.5) }
}
