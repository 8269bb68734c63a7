import Fleets
import Foundation
import Jobs
import NeuralNetwork
import Synchronization
import Tensors
import TestSupport
import Testing
import Worker

/// Weights and a shard of a small problem, as files and in memory.
private struct Problem {
    let model: ModelDescription
    let weights: Weights
    let examples: Examples
    let files: [WorkerJob.Role: StoredFile]
    let options = TrainingOptions(epochs: 2, batchSize: 8, optimizer: .sgd(learningRate: 0.1), seed: 3)

    init(in folder: String) throws {
        model = try ModelDescription(
            json: #"{"input":{"shape":[4]},"layers":[{"type":"linear","out_features":3}],"loss":"cross_entropy"}"#)
        weights = Initializer.weights(for: model, seed: 1)
        let x = Tensor(shape: [20, 4], floats: (0..<80).map { Float($0 % 7) / 7 })
        let y = Tensor(shape: [20], bytes: (0..<20).map { UInt8($0 % 3) })
        examples = try Examples(x: x, y: y, for: model)
        func stored(_ name: String, _ file: Safetensors) throws -> StoredFile {
            let path = folder + "/" + name
            let sha256 = try file.write(to: path)
            return StoredFile(path: path, sha256: sha256, byteCount: Files.size(of: path) ?? 0)
        }
        files = [
            .weights: try stored("weights.safetensors", weights.safetensors()),
            .shard: try stored("shard.safetensors.gz", Safetensors(tensors: [("x", x), ("y", y)])),
        ]
    }

    func job(_ kind: WorkerJob.Kind, inMemory: Bool = false, name: String = "1-0-1", keeps: Bool = false) -> FleetJob {
        let contents: [WorkerJob.Role: JobInput] = [.weights: .weights(weights), .shard: .examples(examples)]
        return FleetJob(
            name: name, title: "round 1, shard 0", kind: kind,
            inputs: inMemory ? contents : files.mapValues { .file($0) }, model: model, examples: 20, timeLimit: 60,
            keepsOutput: keeps)
    }
}

@Suite("Sessions perform jobs of every kind")
struct SessionTests {
    private let scratch: ScratchFolder
    private let problem: Problem

    init() throws {
        scratch = try ScratchFolder()
        problem = try Problem(in: scratch.path)
    }

    private func perform(_ job: FleetJob, on fleet: any Fleet) async throws -> JobAnswer {
        try await fleet.withSession(FleetPlan(machines: 1, folder: scratch.path)) { _ in
        } _: { session in
            try await session.perform(job) { _ in }
        }.value
    }

    private func local() throws -> LocalFleet { try LocalFleet(worker: try builtWorker(), parallel: 1, threads: 1) }

    @Test("a process and a thread give the same delta, and the process is sent nothing but its job")
    func train() async throws {
        let here = try await perform(
            problem.job(.train(problem.options), inMemory: true), on: SimulatedFleet(threads: 1))
        let there = try await perform(problem.job(.train(problem.options)), on: try local())
        guard case .delta(let first) = here.output, case .delta(let second) = there.output else {
            Issue.record("no deltas")
            return
        }
        #expect(first == second && first.contains { $0 != 0 })
        #expect(there.receipt.training?.steps == 6 && here.receipt.training?.steps == 6)
        #expect(there.bytesUp < 4096 && there.bytesDown > 0 && there.outputPath == nil)
    }

    @Test("an evaluation is the receipt alone")
    func evaluate() async throws {
        let here = try await perform(problem.job(.evaluate, inMemory: true), on: SimulatedFleet(threads: 1))
        let there = try await perform(problem.job(.evaluate), on: try local())
        let evaluation = try #require(there.receipt.evaluation)
        #expect(evaluation.loss == here.receipt.evaluation?.loss)
        #expect(evaluation.confusion.joined().reduce(0, +) == 20)
        #expect(evaluation.digests.weights == problem.files[.weights]?.sha256)
        guard case .nothing = there.output else {
            Issue.record("an evaluation has no output")
            return
        }
    }

    @Test("predictions come as a file that is kept")
    func predict() async throws {
        let session = try local()
        let path = try await session.withSession(FleetPlan(machines: 1, folder: scratch.path)) { _ in
        } _: { [problem, scratch] session in
            let answer = try await session.perform(problem.job(.predict(), keeps: true)) { _ in }
            // Moved away before the session ends, as its folder goes with it.
            let kept = scratch.path + "/kept.safetensors.gz"
            try FileManager.default.moveItem(atPath: try #require(answer.outputPath), toPath: kept)
            #expect(answer.receipt.prediction?.digests.output == (try Safetensors.digestOfContents(of: kept)))
            return kept
        }.value
        #expect(try Safetensors(contentsOf: path)["predictions"]?.shape == [20, 3])
    }

    @Test("an input that is not the one of the job is found by the worker")
    func otherInput() async throws {
        var job = problem.job(.evaluate)
        let file = try #require(problem.files[.weights])
        job.inputs[.weights] = .file(
            StoredFile(path: file.path, sha256: String(repeating: "0", count: 64), byteCount: file.byteCount))
        let failure = await #expect(throws: WorkerFailure.self) { try await perform(job, on: try local()) }
        #expect(failure?.stage == "read-weights" && failure?.exitCode == 65)
    }

    @Test("a fleet that works with contents says so of files, and the other way round")
    func wrongInputs() async throws {
        await #expect(throws: DeMLError.self) { try await perform(problem.job(.evaluate), on: SimulatedFleet()) }
        let failure = await #expect(throws: WorkerFailure.self) {
            try await perform(problem.job(.evaluate, inMemory: true), on: try local())
        }
        #expect(failure?.isRetryable == false)
    }
}
