import Jobs
import NeuralNetwork
import Tensors
import Testing
import Worker

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// The folders and file names of one task.
struct TaskFolder {
    var root: String

    init(_ root: String) {
        self.root = root
    }

    var input: String { Files.path(root, "input") }
    var output: String { Files.path(root, "output") }
    var work: String { Files.path(root, "work") }
    var shard: String { Files.path(input, "shard.safetensors.gz") }
    var weights: String { Files.path(input, "weights.safetensors") }
    var delta: String { Files.path(output, "delta.safetensors.gz") }
    var report: String { Files.path(output, "report.json") }
    var predictions: String { Files.path(output, "predictions.safetensors.gz") }

    func create() throws(DeMLError) {
        for folder in [input, output, work] { try Files.createDirectory(folder) }
    }

    /// A training whose files lie in this folder.
    func training(_ options: TrainingOptions, threads: Int? = nil, maxSeconds: Double? = nil) -> WorkerJob {
        job(
            .train(options), output: delta,
            limits: .init(threads: threads, maxSeconds: maxSeconds, allowsPartialWork: maxSeconds != nil))
    }

    func job(_ kind: WorkerJob.Kind, output: String? = nil, limits: WorkerJob.Limits = .init()) -> WorkerJob {
        WorkerJob(
            kind, inputs: [.weights: .init(path: weights), .shard: .init(path: shard)], output: output, report: report,
            limits: limits)
    }
}

/// A task folder of its own with a small model and shard, removed afterwards.
struct Fixture {
    let folder: TaskFolder
    let model: ModelDescription
    let weights: Weights

    static let description = """
        {"input":{"shape":[6],"divide_by":10},"layers":[{"type":"linear","out_features":8},{"type":"relu"},\
        {"type":"dropout","p":0.25},{"type":"linear","out_features":3}],"loss":"cross_entropy"}
        """

    /// - Parameter examples: number of examples in the shard.
    init(examples: Int = 50) throws {
        folder = TaskFolder("/tmp/deml-worker-tests-\(getpid())-\(UInt64.random(in: 0 ... .max))")
        try folder.create()
        model = try ModelDescription(json: Self.description)
        weights = Initializer.weights(for: model, seed: 7)
        try weights.safetensors().write(to: folder.weights)
        try Self.shard(examples: examples).write(to: folder.shard)
    }

    static func shard(examples: Int) -> Safetensors {
        var generator = SeededGenerator(seed: 5, purpose: "worker tests")
        var x: [UInt8] = []
        var y: [UInt8] = []
        for _ in 0..<examples {
            let label = UInt8(generator.next() % 3)
            y.append(label)
            for column in 0..<6 { x.append(UInt8(generator.next() % 10) + (column / 2 == label ? 20 : 0)) }
        }
        return Safetensors(tensors: [
            ("x", Tensor(shape: [examples, 6], bytes: x)), ("y", Tensor(shape: [examples], bytes: y)),
        ])
    }

    func remove() {
        for path in [folder.input, folder.output, folder.work] {
            for name in (try? Files.names(in: path)) ?? [] { unlink(Files.path(path, name)) }
            rmdir(path)
        }
        rmdir(folder.root)
    }
}

/// Performs `body` with a fixture and cleans up.
func withFixture(examples: Int = 50, _ body: (Fixture) throws -> Void) throws {
    let fixture = try Fixture(examples: examples)
    defer { fixture.remove() }
    try body(fixture)
}
