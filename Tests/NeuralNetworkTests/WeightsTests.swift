import NeuralNetwork
import Tensors
import Testing

@Suite struct WeightsTests {
    private static func model() throws -> ModelDescription {
        try ModelDescription(
            input: .init(shape: [1, 6, 6], divideBy: 255),
            layers: [
                .conv2d(outChannels: 4, kernelSize: 3), .groupNorm(groups: 2), .relu, .flatten,
                .linear(outFeatures: 300), .linear(outFeatures: 3),
            ], loss: .crossEntropy)
    }

    @Test func filesRoundTrip() throws {
        let model = try Self.model()
        let file = Initializer.initialWeights(for: model, seed: 11)
        #expect(file.metadata["deml.round"] == "0")
        #expect(file.tensors.map(\.name) == model.parameters.map(\.name))
        let weights = try Weights(Safetensors(decoding: file.encoded()))
        #expect(weights == Initializer.weights(for: model, seed: 11))
        #expect(weights.safetensors(round: 7).metadata["deml.round"] == "7")
        #expect(try Weights(weights.safetensors(round: 7)).round == 7)
        #expect(try Weights(model: model, parameters: weights.parameters) == weights)
        #expect(throws: DeMLError.self) { try Weights(model: model, parameters: [1, 2]) }
        // Training and storing keeps every number in its place: load and export without a step.
        let examples = try Examples(
            x: Tensor(shape: [1, 1, 6, 6], bytes: Array(repeating: 9, count: 36)),
            y: Tensor(shape: [1], int64s: [2]), for: model)
        let trainer = try Trainer(
            weights: weights, options: TrainingOptions(optimizer: .sgd(learningRate: 0)))
        #expect(trainer.weights == weights)
        _ = try trainer.train(on: examples)
        #expect(trainer.weights == weights)
        #expect(trainer.weights.difference(from: weights).allSatisfy { $0 == 0 })
    }

    @Test func otherFloatTypesAreAccepted() throws {
        let model = try Self.model()
        let weights = Initializer.weights(for: model, seed: 1)
        var file = weights.safetensors()
        file["5.bias"] = Tensor(shape: [3], doubles: [0.5, -2, 1e-3])
        #expect(Array(try Weights(file).parameters.suffix(3)) == [0.5, -2, 1e-3])
        file["5.bias"] = try Tensor(dtype: .bf16, shape: [3], bytes: [0x80, 0x3f, 0, 0xc0, 0, 0][...])
        #expect(Array(try Weights(file).parameters.suffix(3)) == [1, -2, 0])
    }

    @Test func badFilesAreRefused() throws {
        let model = try Self.model()
        let good = Initializer.initialWeights(for: model, seed: 1)
        func expect(
            _ code: DeMLError.Code, _ word: String, _ change: (inout Safetensors) throws -> Void,
            sourceLocation: SourceLocation = #_sourceLocation
        ) throws {
            var file = good
            try change(&file)
            let error = #expect(throws: DeMLError.self, sourceLocation: sourceLocation) { try Weights(file) }
            #expect(error?.code == code, sourceLocation: sourceLocation)
            #expect(error?.summary.contains(word) == true, "\(error as Any)", sourceLocation: sourceLocation)
        }
        try expect(.missing, "deml.model") { $0.metadata = [:] }
        try expect(.malformed, "model description") { $0.metadata["deml.model"] = "{" }
        try expect(.malformed, "deml.round") { $0.metadata["deml.round"] = "-1" }
        try expect(.missing, "'5.bias'") { $0["5.bias"] = nil }
        try expect(.mismatch, "'7.bias'") { $0["7.bias"] = Tensor(shape: [1], floats: [1]) }
        try expect(.shape, "[3]") { $0["5.bias"] = Tensor(shape: [4], floats: [1, 2, 3, 4]) }
        try expect(.dtype, "I64") { $0["5.bias"] = Tensor(shape: [3], int64s: [1, 2, 3]) }
        try expect(.notFinite, "element 1") { $0["5.bias"] = Tensor(shape: [3], floats: [1, .nan, 3]) }
        try expect(.notFinite, "5.bias") { $0["5.bias"] = Tensor(shape: [3], floats: [1, 2, .infinity]) }
        // Finite as it stands, infinite in single precision.
        try expect(.notFinite, "element 2") { $0["5.bias"] = Tensor(shape: [3], doubles: [1, 2, 1e300]) }
    }

    /// torch's bounds, filled evenly, and the same numbers on every machine.
    @Test func initialization() throws {
        let model = try Self.model()
        let weights = Initializer.weights(for: model, seed: 42)
        for ((name, values), fanIn) in zip(model.slices(weights.parameters), [9, 9, 0, 0, 64, 64, 300, 300]) {
            switch name {
            case "1.weight": #expect(values.allSatisfy { $0 == 1 })
            case "1.bias": #expect(values.allSatisfy { $0 == 0 })
            default:
                let bound = 1 / Float(fanIn).squareRoot()
                #expect(values.allSatisfy { abs($0) <= bound }, "\(name)")
                guard values.count > 500 else { continue }
                let mean = values.reduce(0, +) / Float(values.count)
                let variance = values.reduce(0) { $0 + $1 * $1 } / Float(values.count)
                // Six standard deviations of the mean, and of the variance, of a uniform distribution.
                let tolerance = 6 / Float(values.count).squareRoot()
                #expect(abs(mean) < tolerance * bound / Float(3).squareRoot(), "\(name)")
                #expect(abs(variance / (bound * bound / 3) - 1) < tolerance * 0.9, "\(name)")
            }
        }
        #expect(Set(weights.parameters).count > 19000)
        #expect(Initializer.weights(for: model, seed: 42) == weights)
        #expect(Initializer.weights(for: model, seed: 43) != weights)
        #expect(
            sha256Hex(Initializer.initialWeights(for: model, seed: 42).encoded())
                == "d040397978701ca27136316962e32686b6212bcffb0480f0897c51fc05dbbf27")
    }

    @Test func examplesAreChecked() throws {
        let model = try Self.model()
        let x = Tensor(shape: [4, 1, 6, 6], bytes: Array(repeating: 1, count: 144))
        let y = Tensor(shape: [4], bytes: [0, 1, 2, 1])
        #expect(try Examples(x: x, y: y, for: model).count == 4)
        #expect(try Examples(x: x, y: Tensor(shape: [4], int32s: [0, 1, 2, 0]), for: model).labels == [0, 1, 2, 0])
        func expect(
            _ code: DeMLError.Code, _ word: String, x other: Tensor? = nil, y otherY: Tensor? = nil,
            model otherModel: ModelDescription? = nil, sourceLocation: SourceLocation = #_sourceLocation
        ) {
            let error = #expect(throws: DeMLError.self, sourceLocation: sourceLocation) {
                try Examples(x: other ?? x, y: otherY ?? y, for: otherModel ?? model)
            }
            #expect(error?.code == code, sourceLocation: sourceLocation)
            #expect(
                error?.place == (otherY == nil && other != nil ? "tensor 'x'" : "tensor 'y'"),
                sourceLocation: sourceLocation)
            #expect(error?.summary.contains(word) == true, "\(error as Any)", sourceLocation: sourceLocation)
        }
        expect(.dtype, "I64", x: Tensor(shape: [4, 1, 6, 6], int64s: Array(repeating: 1, count: 144)))
        expect(.shape, "[N, 1, 6, 6]", x: Tensor(shape: [4, 6, 6], bytes: Array(repeating: 1, count: 144)))
        expect(.missing, "no examples", x: Tensor(shape: [0, 1, 6, 6], bytes: []))
        var floats = [Float](repeating: 0, count: 144)
        floats[40] = .nan
        expect(.notFinite, "example 1", x: Tensor(shape: [4, 1, 6, 6], floats: floats))
        expect(.shape, "[3]", y: Tensor(shape: [3], bytes: [0, 1, 2]))
        expect(.dtype, "F32", y: Tensor(shape: [4], floats: [0, 1, 2, 1]))
        expect(.outOfRange, "label 3 of example 2", y: Tensor(shape: [4], bytes: [0, 1, 3, 1]))
        expect(.outOfRange, "label -1", y: Tensor(shape: [4], int64s: [0, 1, 2, -1]))
        expect(.outOfRange, "0 ..< 3", y: Tensor(shape: [4], int64s: [0, 1, 2, .max]))
        let regression = try ModelDescription(
            input: .init(shape: [1, 6, 6]), layers: [.flatten, .linear(outFeatures: 2)], loss: .meanSquaredError)
        expect(.shape, "[2]", y: Tensor(shape: [4], floats: [0, 1, 2, 1]), model: regression)
        expect(.dtype, "U8", y: y, model: regression)
        expect(
            .notFinite, "element 3", y: Tensor(shape: [4, 2], floats: [0, 1, 2, .nan, 1, 2, 3, 4]), model: regression)
    }
}
