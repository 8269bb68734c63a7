import CKernels
import NeuralNetwork
import Tensors

extension Benchmark {
    /// Measures this machine.
    /// - Parameter secondsEach: how long each figure is measured; the best of its repetitions counts.
    public init(threads: Int, instructionSet: InstructionSet? = nil, secondsEach: Double) throws(DeMLError) {
        let chosen = instructionSet ?? .standard
        let kernels = try MeasuredKernels(threads: threads, instructionSet: chosen)
        isa = chosen.rawValue
        self.threads = threads
        processors = availableProcessors()
        let peak = kernels.peak(seconds: secondsEach)
        peakGFLOPS = peak / 1e9
        products = Self.shapes.map { m, n, k in
            let rate = kernels.product(m: m, n: n, k: k, seconds: secondsEach)
            return Product(m: m, n: n, k: k, gflops: rate / 1e9, share: rate / peak)
        }
        var training: [Training] = []
        for recipe in ExampleRecipe.all {
            let rate = try recipe.rate(threads: threads, chosen, seconds: secondsEach)
            training.append(
                Training(
                    model: recipe.name, optimizer: recipe.optimizer.type, batchSize: recipe.batchSize,
                    samplesPerSecond: rate, share: rate * recipe.operations / peak))
        }
        self.training = training
        let bytes = ExampleRecipe.pixels(count: 4096)
        sha256BytesPerSecond = bestRate(seconds: secondsEach) {
            _ = sha256Hex(bytes)
            return Double(bytes.count)
        }
        let compressed = try Gzip.compress(bytes)
        gunzipBytesPerSecond = bestRate(seconds: secondsEach) {
            guard let expanded = try? Gzip.decompress(compressed, maximumBytes: bytes.count) else { return 0 }
            return Double(expanded.count)
        }
    }

    /// The products that training the example models consists of: (m, n, k).
    private static let shapes = [(64, 128, 784), (784, 128, 64), (10, 200, 784), (64, 512, 3136), (12544, 64, 800)]
}

/// Units a second in the best of the repetitions that fit into the time. `body` returns the units it did.
private func bestRate(seconds limit: Double, _ body: () -> Double) -> Double {
    let start = ContinuousClock.now
    var best = 0.0
    repeat {
        let before = ContinuousClock.now
        let units = body()
        best = max(best, units / max(seconds(since: before), 1e-9))
    } while seconds(since: start) < limit
    return best
}

/// A pool of kernels' threads and what it can be measured by.
private final class MeasuredKernels {
    private let pool: OpaquePointer
    private let threads: Int

    init(threads: Int, instructionSet: InstructionSet) throws(DeMLError) {
        let isa: deml_isa =
            switch instructionSet {
            case .portable: DEML_PORTABLE
            case .avx2: DEML_AVX2
            case .avx512: DEML_AVX512
            case .neon: DEML_NEON
            }
        guard let pool = deml_pool_create(threads, isa) else {
            throw DeMLError(.internal, "\(threads) threads with \(instructionSet.rawValue) cannot be started")
        }
        self.pool = pool
        self.threads = threads
    }

    deinit {
        deml_pool_destroy(pool)
    }

    /// Operations a second of multiply-adds in registers. Measured on one thread, times the threads that have a
    /// processor of their own.
    func peak(seconds: Double) -> Double {
        let one = bestRate(seconds: seconds) { deml_fma_peak_operations(pool, 1_000_000) }
        return one * Double(min(threads, availableProcessors()))
    }

    /// Operations a second of C[m][n] = A[m][k]·B[k][n].
    func product(m: Int, n: Int, k: Int, seconds: Double) -> Double {
        let a = [Float](repeating: 0.5, count: m * k)
        let b = [Float](repeating: 0.25, count: k * n)
        var c = [Float](repeating: 0, count: m * n)
        return bestRate(seconds: seconds) {
            deml_gemm(pool, m, n, k, a, k, false, b, n, &c, n, false)
            return 2 * Double(m) * Double(n) * Double(k)
        }
    }
}

/// An example model with the settings it is trained with.
private struct ExampleRecipe {
    var name: String
    var model: String
    var optimizer: OptimizerDescription
    var batchSize: Int
    var examples: Int
    /// Floating-point operations to train on one example: products forward, and backward to weights and inputs.
    var operations: Double

    private init(
        name: String, model: String, optimizer: OptimizerDescription, batchSize: Int, examples: Int, operations: Double
    ) {
        self.name = name
        self.model = model
        self.optimizer = optimizer
        self.batchSize = batchSize
        self.examples = examples
        self.operations = operations
    }

    /// A model of today, whose operations are counted by its description: three products where a forward pass has one.
    private init(
        _ name: String, _ layers: String, input: String, _ optimizer: OptimizerDescription, batchSize: Int,
        examples: Int
    ) {
        let json = "{\"input\":\(input),\"layers\":[\(layers)],\"loss\":\"cross_entropy\"}"
        let work = (try? ModelDescription(json: json))?.multiplyAdds ?? 0
        self.init(
            name: name, model: json, optimizer: optimizer, batchSize: batchSize, examples: examples,
            operations: 6 * Double(work))
    }

    static let all: [ExampleRecipe] = {
        let adam = OptimizerDescription.adam(learningRate: 1e-3)
        let sgd = OptimizerDescription.sgd(learningRate: 0.1)
        func recipe(
            _ name: String, _ model: String, _ optimizer: OptimizerDescription, batchSize: Int, examples: Int,
            _ multiplyAdds: Int
        ) -> ExampleRecipe {
            ExampleRecipe(
                name: name, model: model, optimizer: optimizer, batchSize: batchSize, examples: examples,
                operations: 2 * Double(multiplyAdds))
        }
        // The first layer has no gradient of its input.
        let mlpWork = 2 * 784 * 128 + 3 * 128 * 10
        let cnnWork = 2 * 784 * 25 * 32 + 3 * (196 * 800 * 64 + 3136 * 512 + 512 * 10)
        return [
            recipe("mlp", mlp, adam, batchSize: 64, examples: 4096, mlpWork),
            recipe("mlp", mlp, sgd, batchSize: 10, examples: 4000, mlpWork),
            recipe("cnn", cnn, adam, batchSize: 64, examples: 128, cnnWork),
            recipe("cnn", cnn, sgd, batchSize: 10, examples: 100, cnnWork),
            ExampleRecipe(
                "transformer", transformer, input: "{\"shape\":[64],\"tokens\":65}", .adamw(learningRate: 1e-3),
                batchSize: 12, examples: 96),
            ExampleRecipe(
                "lstm", lstm, input: "{\"shape\":[80],\"tokens\":86}", sgd, batchSize: 10, examples: 40),
            ExampleRecipe(
                "resnet", resnet, input: "{\"shape\":[1,28,28],\"divide_by\":255}", sgd, batchSize: 64, examples: 128),
            ExampleRecipe(
                "depthwise", depthwise, input: "{\"shape\":[1,28,28],\"divide_by\":255}", sgd, batchSize: 64,
                examples: 128),
        ]
    }()

    /// 784-128-10, the original's model; without dropout it is what the rows without Adam train.
    private static let mlp = """
        {"input":{"shape":[1,28,28],"divide_by":255},"layers":[{"type":"flatten"},{"type":"linear","out_features":128},\
        {"type":"relu"},{"type":"dropout","p":0.2},{"type":"linear","out_features":10}],"loss":"cross_entropy"}
        """
    private static let cnn = """
        {"input":{"shape":[1,28,28],"divide_by":255},"layers":[\
        {"type":"conv2d","out_channels":32,"kernel_size":5,"padding":2},{"type":"relu"},{"type":"max_pool2d","kernel_size":2},\
        {"type":"conv2d","out_channels":64,"kernel_size":5,"padding":2},{"type":"relu"},{"type":"max_pool2d","kernel_size":2},\
        {"type":"flatten"},{"type":"linear","out_features":512},{"type":"relu"},{"type":"linear","out_features":10}],\
        "loss":"cross_entropy"}
        """

    /// nanoGPT's for a CPU: 4 layers, 4 heads, 128 wide, blocks of 64 characters.
    private static let transformer: String = {
        let norm = "{\"type\":\"layer_norm\",\"normalized_shape\":128}"
        let block = """
            {"type":"residual","layers":[\(norm),{"type":"attention","num_heads":4,"causal":true,"naming":"gpt"}]},\
            {"type":"residual","layers":[\(norm),{"type":"linear","out_features":512},{"type":"gelu"},\
            {"type":"linear","out_features":128}]}
            """
        return "{\"type\":\"embedding\",\"embedding_dim\":128},{\"type\":\"positional_embedding\"},"
            + [block, block, block, block].joined(separator: ",")
            + ",\(norm),{\"type\":\"linear\",\"out_features\":65,\"bias\":false}"
    }()
    /// The FedAvg paper's for Shakespeare.
    private static let lstm = """
        {"type":"embedding","embedding_dim":8},{"type":"lstm","hidden_size":256,"num_layers":2},\
        {"type":"linear","out_features":86}
        """
    private static let resnet: String = {
        func conv(_ out: Int, _ options: String = "\"kernel_size\":3,\"padding\":1") -> String {
            "{\"type\":\"conv2d\",\"out_channels\":\(out),\"bias\":false,\(options)},{\"type\":\"batch_norm\"}"
        }
        func block(_ out: Int) -> String {
            "{\"type\":\"residual\",\"layers\":[\(conv(out)),{\"type\":\"relu\"},\(conv(out))]},{\"type\":\"relu\"}"
        }
        let wider = """
            {"type":"residual","layers":[\(conv(64, "\"kernel_size\":3,\"padding\":1,\"stride\":2")),\
            {"type":"relu"},\(conv(64))],"projection":[\(conv(64, "\"kernel_size\":1,\"stride\":2"))]},{"type":"relu"}
            """
        return "\(conv(32)),{\"type\":\"relu\"},\(block(32)),\(wider),\(block(64)),"
            + "{\"type\":\"global_avg_pool2d\"},{\"type\":\"flatten\"},{\"type\":\"linear\",\"out_features\":10}"
    }()
    private static let depthwise: String = {
        func pair(_ channels: Int, _ out: Int, stride: Int) -> String {
            """
            {"type":"conv2d","out_channels":\(channels),"kernel_size":3,"padding":1,"groups":\(channels),"stride":\(stride)},\
            {"type":"relu"},{"type":"conv2d","out_channels":\(out),"kernel_size":1},{"type":"relu"}
            """
        }
        return "{\"type\":\"conv2d\",\"out_channels\":32,\"kernel_size\":3,\"padding\":1},{\"type\":\"relu\"},"
            + "\(pair(32, 64, stride: 2)),\(pair(64, 64, stride: 1)),\(pair(64, 128, stride: 2)),"
            + "{\"type\":\"global_avg_pool2d\"},{\"type\":\"flatten\"},{\"type\":\"linear\",\"out_features\":10}"
    }()

    /// As many examples as an epoch has, whatever they are.
    private func data(_ model: ModelDescription) throws(DeMLError) -> Examples {
        guard let tokens = model.input.tokens else {
            return try Examples(
                x: Tensor(shape: [examples, 1, 28, 28], bytes: Self.pixels(count: examples)),
                y: Tensor(shape: [examples], bytes: (0..<examples).map { UInt8($0 % 10) }), for: model)
        }
        let length = model.inputShape[0]
        var generator = SeededGenerator(seed: 0, purpose: "benchmark")
        let text = (0..<examples * length + 1).map { _ in UInt8(generator.uniform(below: tokens)) }
        return try Examples(
            x: Tensor(shape: [examples, length], bytes: Array(text.dropLast())),
            y: Tensor(shape: [examples, length], bytes: Array(text.dropFirst())), for: model)
    }

    /// Examples trained on a second, the best epoch that fits into the time.
    func rate(threads: Int, _ instructionSet: InstructionSet, seconds limit: Double) throws(DeMLError) -> Double {
        let model = try ModelDescription(json: model)
        let data = try data(model)
        let options = TrainingOptions(epochs: 1, batchSize: batchSize, optimizer: optimizer)
        let trainer = try Trainer(
            weights: Initializer.weights(for: model, seed: 0), options: options, threads: threads,
            instructionSet: instructionSet)
        var best = 0.0
        let start = ContinuousClock.now
        repeat {
            let result = try trainer.train(on: data)
            best = max(best, Worker.rate(result.samples, result.seconds))
        } while seconds(since: start) < limit
        return best
    }

    /// Images of 784 bytes that compress about as well as digits do: mostly background.
    static func pixels(count: Int) -> [UInt8] {
        var generator = SeededGenerator(seed: 0, purpose: "benchmark")
        return (0..<count * 784).map { _ in
            let word = generator.next()
            return word & 0xf < 13 ? 0 : UInt8(truncatingIfNeeded: word >> 8)
        }
    }
}
