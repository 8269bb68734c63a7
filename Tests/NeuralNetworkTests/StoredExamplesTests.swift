import Foundation
import NeuralNetwork
import Tensors
import Testing

/// Examples that are read from their file a batch at a time, against the same in memory.
@Suite struct StoredExamplesTests {
    /// A model, and a set for it with inputs of a type.
    private static func set(
        _ kind: String, _ dtype: DType, count: Int
    ) throws -> (model: ModelDescription, x: Tensor, y: Tensor) {
        var model = try BitExactnessTests.model(kind)
        if kind == "regression" {
            model = try ModelDescription(
                input: .init(shape: [7]), layers: [.linear(outFeatures: 9), .tanh, .linear(outFeatures: 2)],
                loss: .meanSquaredError)
        }
        var random = RandomSource("stored examples \(kind)")
        let shape = [count] + model.inputShape
        let size = shape.reduce(1, *)
        let x: Tensor
        switch dtype {
        case .u8: x = Tensor(shape: shape, bytes: (0..<size).map { _ in UInt8(random.integer(0...255)) })
        case .f32: x = Tensor(shape: shape, floats: random.normals(size))
        case .f64: x = Tensor(shape: shape, doubles: random.normals(size).map { Double($0) * 1.000_000_01 })
        default:
            // BF16: the upper half of a float.
            let bytes = random.normals(size).flatMap { value in
                withUnsafeBytes(of: UInt16(truncatingIfNeeded: value.bitPattern >> 16)) { Array($0) }
            }
            x = try Tensor(dtype: dtype, shape: shape, bytes: bytes[...])
        }
        let outputs = model.outputShape.reduce(1, *)
        let y =
            model.loss == .meanSquaredError
            ? Tensor(shape: [count] + model.outputShape, floats: random.normals(count * outputs))
            : dtype == .u8
                ? Tensor(shape: [count], bytes: (0..<count).map { _ in UInt8(random.integer(0...outputs - 1)) })
                : Tensor(shape: [count], int64s: (0..<count).map { _ in Int64(random.integer(0...outputs - 1)) })
        return (model, x, y)
    }

    /// Writes the set and gives `body` the path.
    private func withFile(_ x: Tensor, _ y: Tensor, _ body: (String) throws -> Void) throws {
        let path = FileManager.default.temporaryDirectory
            .appending(path: "deml-stored-\(UInt64.random(in: .min ... .max)).safetensors").path
        defer { try? Files.remove(path) }
        try Safetensors(tensors: [("x", x), ("y", y)]).write(to: path)
        try body(path)
    }

    private static func stored(_ path: String, _ model: ModelDescription) throws -> StoredExamples {
        let file = try SafetensorsFile(path)
        return try StoredExamples(x: #require(file["x"]), targets: file["y"], for: model)
    }

    @Test(arguments: ["mlp", "cnn", "everything", "regression"], [DType.u8, .f32, .f64, .bf16])
    func theResultIsThatOfTheSetInMemory(kind: String, dtype: DType) throws {
        // More rows than a block of 1 MiB has, where rows are long.
        let (model, x, y) = try Self.set(kind, dtype, count: dtype == .f64 && kind == "cnn" ? 700 : 83)
        let inMemory = try Examples(x: x, y: y, for: model)
        let start = Initializer.weights(for: model, seed: 2)
        try withFile(x, y) { path in
            let stored = try Self.stored(path, model)
            // Held open, it needs no name.
            try Files.remove(path)
            #expect(stored.count == inMemory.count)
            for shuffle in [true, false] {
                let options = TrainingOptions(epochs: 2, batchSize: 8, seed: 5, shuffle: shuffle)
                let one = try Trainer(weights: start, options: options, threads: 2)
                let other = try Trainer(weights: start, options: options, threads: 1)
                let (first, second) = (try one.train(on: inMemory), try other.train(on: stored))
                #expect(one.weights == other.weights)
                #expect(first.epochs.map(\.loss) == second.epochs.map(\.loss))
                #expect(first.epochs.map(\.accuracy) == second.epochs.map(\.accuracy))
                #expect(one.weights != start)
            }
            let evaluator = try Evaluator(model: model, batchSize: 16)
            #expect(try evaluator.evaluate(start, stored) == evaluator.evaluate(start, inMemory))
            let file = try WeightsFile(start.safetensors())
            #expect(try evaluator.predict(file, stored) == evaluator.predict(start, inMemory))
        }
    }

    @Test func aStoppedTrainingGoesOnWithEither() throws {
        let (model, x, y) = try Self.set("mlp", .u8, count: 50)
        let inMemory = try Examples(x: x, y: y, for: model)
        let start = Initializer.weights(for: model, seed: 2)
        let options = TrainingOptions(epochs: 2, batchSize: 7, optimizer: .adam())
        let undisturbed = try Trainer(weights: start, options: options)
        _ = try undisturbed.train(on: inMemory)
        try withFile(x, y) { path in
            let first = try Trainer(weights: start, options: options)
            var steps = 0
            _ = try first.train(
                on: try Self.stored(path, model), shouldStop: { steps == 10 }, onBatch: { steps = $0.step })
            let second = try Trainer(weights: start, options: options, resuming: first.state)
            #expect(try second.train(on: inMemory).isComplete)
            #expect(second.weights == undisturbed.weights)
        }
    }

    /// What is refused in memory is refused in a file, in the same words.
    @Test func aBadSetIsRefusedAsInMemory() throws {
        let model = try BitExactnessTests.model("mlp")
        let x = Tensor(shape: [4, 1, 12, 12], bytes: Array(repeating: 1, count: 576))
        let y = Tensor(shape: [4], bytes: [0, 1, 2, 1])
        var floats = [Float](repeating: 0, count: 576)
        floats[300] = .nan
        let regression = try ModelDescription(
            input: .init(shape: [1, 12, 12]), layers: [.flatten, .linear(outFeatures: 2)], loss: .meanSquaredError)
        let bad: [(Tensor, Tensor, ModelDescription)] = [
            (Tensor(shape: [4, 1, 12, 12], int64s: Array(repeating: 1, count: 576)), y, model),
            (Tensor(shape: [4, 12, 12], bytes: Array(repeating: 1, count: 576)), y, model),
            (Tensor(shape: [0, 1, 12, 12], bytes: []), Tensor(shape: [0], bytes: []), model),
            (Tensor(shape: [4, 1, 12, 12], floats: floats), y, model),
            (x, Tensor(shape: [3], bytes: [0, 1, 2]), model),
            (x, Tensor(shape: [], int64s: [1]), model),
            (x, Tensor(shape: [4, 2], bytes: Array(repeating: 1, count: 8)), model),
            (x, Tensor(shape: [4], floats: [0, 1, 2, 1]), model),
            (x, Tensor(shape: [4], bytes: [0, 1, 10, 1]), model),
            (x, Tensor(shape: [4], int64s: [0, 1, 2, -1]), model),
            (x, Tensor(shape: [4], int64s: [0, .max, 2, 1]), model),
            (x, y, regression),
            (x, Tensor(shape: [4, 2], floats: [0, 1, 2, .nan, 1, 2, 3, 4]), regression),
            (x, Tensor(shape: [4], floats: [0, 1, 2, 1]), regression),
        ]
        for (x, y, model) in bad {
            let expected = try #require(throws: DeMLError.self) { try Examples(x: x, y: y, for: model) }
            try withFile(x, y) { path in
                let error = try #require(throws: DeMLError.self) { try Self.stored(path, model) }
                #expect(error.code == expected.code && error.summary == expected.summary)
            }
        }
    }

    @Test func aFileThatBecomesShorterIsAnError() throws {
        let (model, x, y) = try Self.set("mlp", .u8, count: 400)
        try withFile(x, y) { path in
            let stored = try Self.stored(path, model)
            #expect(truncate(path, 20_000) == 0)
            let trainer = try Trainer(weights: Initializer.weights(for: model, seed: 1), options: TrainingOptions())
            let error = #expect(throws: DeMLError.self) { try trainer.train(on: stored) }
            #expect(error?.code == .truncated)
            #expect(error?.place == path)
        }
    }

    /// A label is an index in the kernels: one that was changed behind our back is found before they see it.
    @Test func aLabelThatBecomesABadOneIsAnError() throws {
        let (model, x, y) = try Self.set("mlp", .u8, count: 40)
        try withFile(x, y) { path in
            let stored = try Self.stored(path, model)
            let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
            // Labels are the file's last bytes.
            try file.seek(toOffset: try file.seekToEnd() - 1)
            try file.write(contentsOf: Data([200]))
            try file.close()
            let trainer = try Trainer(weights: Initializer.weights(for: model, seed: 1), options: TrainingOptions())
            let error = #expect(throws: DeMLError.self) { try trainer.train(on: stored) }
            #expect(error?.code == .outOfRange)
            #expect(error?.message.contains("200") == true)
        }
    }

    /// Anyone's source: what it gives is checked, and what it forgets is missed.
    @Test func aSourceOfOnesOwnIsNotTrusted() throws {
        struct Made: ExampleSource {
            let count = 12
            var label: Int32 = 1
            var hasTargets = true
            var width = 12

            func gather(_ rows: UnsafeBufferPointer<Int64>, into batch: ExampleBatch) throws(DeMLError) {
                let shape = [rows.count, 1, 12, width]
                let pixels = rows.flatMap { Array(repeating: UInt8($0), count: 12 * width) }
                try batch.setInputs(Tensor(shape: shape, bytes: pixels))
                guard hasTargets else { return }
                try batch.setTargets(
                    Tensor(shape: [rows.count], int32s: Array(repeating: label, count: rows.count)))
            }
        }
        let model = try BitExactnessTests.model("mlp")
        let start = Initializer.weights(for: model, seed: 1)
        let pixels = (0..<12).flatMap { Array(repeating: UInt8($0), count: 144) }
        let inMemory = try Examples(
            x: Tensor(shape: [12, 1, 12, 12], bytes: pixels),
            y: Tensor(shape: [12], int32s: Array(repeating: 1, count: 12)), for: model)
        #expect(try evaluate(weights: start, examples: Made()) == evaluate(weights: start, examples: inMemory))
        for (source, code) in [
            (Made(label: 10), DeMLError.Code.outOfRange), (Made(label: -1), .outOfRange),
            (Made(hasTargets: false), .missing),
            (Made(width: 11), .shape),
        ] {
            let trainer = try Trainer(weights: start, options: TrainingOptions(batchSize: 5))
            #expect(throws: DeMLError.self) { try trainer.train(on: source) }
            let error = #expect(throws: DeMLError.self) { try evaluate(weights: start, examples: source) }
            #expect(error?.code == code)
        }
    }
}
