import Datasets
import Federation
import Fleets
import Foundation
import NeuralNetwork
import Synchronization
import Tensors

/// Something that one task raises and others look at.
final class Flag: Sendable {
    private let value = Mutex(false)

    func raise() { value.withLock { $0 = true } }
    var isUp: Bool { value.withLock { $0 } }
}

/// What several tasks count together.
final class Counter: Sendable {
    private let count = Mutex(0)

    func add(_ number: Int) { count.withLock { $0 += number } }
    var value: Int { count.withLock { $0 } }
}

/// A round's folder does not have the record that is looked for.
struct NoRecord: Error {}

/// A small problem that a small network learns in a moment: three clouds of points in eight dimensions.
enum TinyProblem {
    static let model = """
        {"input": {"shape": [8]}, "layers": [{"type": "linear", "out_features": 12}, {"type": "relu"},
         {"type": "dropout", "p": 0.1}, {"type": "linear", "out_features": 3}], "loss": "cross_entropy"}
        """

    /// Without anything at random.
    static let plainModel = """
        {"input": {"shape": [8]}, "layers": [{"type": "linear", "out_features": 12}, {"type": "relu"},
         {"type": "linear", "out_features": 3}], "loss": "cross_entropy"}
        """

    static func part(_ count: Int, _ purpose: String) -> Dataset.Part {
        var random = SeededGenerator(seed: 11, purpose: purpose)
        var x: [Float] = []
        var y: [UInt8] = []
        for index in 0..<count {
            let label = index % 3
            for feature in 0..<8 {
                x.append(Float((feature % 3 == label ? 1.0 : 0.0) + 0.4 * random.normal()))
            }
            y.append(UInt8(label))
        }
        return Dataset.Part(x: Tensor(shape: [count, 8], floats: x), y: Tensor(shape: [count], bytes: y))
    }

    static func dataset(examples: Int = 240) throws -> Dataset {
        try Dataset(name: "clouds", train: part(examples, "train"), test: part(150, "test"))
    }

    /// Settings for runs of a fraction of a second.
    static func configuration(_ change: (inout RunConfiguration) -> Void = { _ in }) throws -> RunConfiguration {
        var configuration = RunConfiguration()
        configuration.data.path = "clouds"
        configuration.model.source = .description(try ModelDescription(json: model))
        configuration.machines.fleet = .simulated
        configuration.federation.workers = 4
        configuration.federation.rounds = 3
        configuration.training.localEpochs = 2
        configuration.training.batchSize = 16
        configuration.training.optimizer = .sgd
        configuration.training.learningRate = 0.1
        configuration.federation.seed = 5
        configuration.output.comparison = false
        change(&configuration)
        return configuration
    }

    static func plan(_ folder: String, _ change: (inout RunConfiguration) -> Void = { _ in }) throws -> RunPlan {
        try RunPlan(
            configuration: try configuration(change), dataset: try dataset(), folder: RunFolder(path: folder),
            threads: 1)
    }
}

/// Collects the events of a run.
final class EventLog: Sendable {
    private let list = Mutex<[RunEvent.Kind]>([])

    func add(_ event: RunEvent) { list.withLock { $0.append(event.kind) } }
    var events: [RunEvent.Kind] { list.withLock { $0 } }
    var names: [String] { events.map(\.name) }
    var failures: [RunEvent.AttemptFailed] {
        events.compactMap { if case .attemptFailed(let failure) = $0 { failure } else { nil } }
    }
}

/// An attempt as those see it who give the jobs: the numbers out of a job's name.
struct TroubledAttempt: Sendable {
    let round: Int
    let client: Int
    let attempt: Int
    let job: FleetJob

    init(_ job: FleetJob) {
        let numbers = job.name.split(separator: "-").compactMap { Int($0) }
        (round, client, attempt) = (numbers[0], numbers[1], numbers[2])
        self.job = job
    }
}

/// A simulated fleet in which things go wrong as a closure says.
struct TroubledFleet: Fleet {
    let fleet: SimulatedFleet
    let trouble: @Sendable (TroubledAttempt) async throws -> Void
    var change: @Sendable (inout JobAnswer) -> Void = { _ in }

    var name: String { "simulated" }
    var needsFiles: Bool { false }

    func withSession<Value: Sendable>(
        _ plan: FleetPlan, notice: @escaping @Sendable (FleetNotice) -> Void,
        _ body: @escaping @Sendable (any FleetSession) async throws -> Value
    ) async throws -> SessionEnd<Value> {
        try await fleet.withSession(plan, notice: notice) { session in
            try await body(TroubledSession(session: session, trouble: trouble, change: change))
        }
    }
}

private struct TroubledSession: FleetSession {
    let session: any FleetSession
    let trouble: @Sendable (TroubledAttempt) async throws -> Void
    let change: @Sendable (inout JobAnswer) -> Void

    func perform(
        _ job: FleetJob, progress: @escaping @Sendable (JobProgress) -> Void
    ) async throws -> JobAnswer {
        let attempt = TroubledAttempt(job)
        let provider = Provider(id: "p\(attempt.client).\(attempt.attempt)", name: "troubled")
        progress(.started(provider))
        do { try await trouble(attempt) } catch is CancellationError {
            throw WorkerFailure(.cancelled, provider: provider, stage: "train", message: "it was not needed any more")
        }
        var answer = try await session.perform(job) { if case .started = $0 {} else { progress($0) } }
        answer.provider = provider
        change(&answer)
        return answer
    }
}
