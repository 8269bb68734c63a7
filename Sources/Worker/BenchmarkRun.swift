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

    /// Examples trained on a second, the best epoch that fits into the time.
    func rate(threads: Int, _ instructionSet: InstructionSet, seconds limit: Double) throws(DeMLError) -> Double {
        let model = try ModelDescription(json: model)
        let x = Tensor(shape: [examples, 1, 28, 28], bytes: Self.pixels(count: examples))
        let y = Tensor(shape: [examples], bytes: (0..<examples).map { UInt8($0 % 10) })
        let data = try Examples(x: x, y: y, for: model)
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
