import NeuralNetwork
import Tensors
import Testing

/// Weights that a network takes from their file piece by piece, against weights in an array.
@Suite struct WeightsFileTests {
    /// Widths around the kernels' blocks of 64 outputs, and parameters of more than one piece of 4 Mi numbers.
    static let shapes: [(input: Int, hidden: Int)] = [
        (3, 1), (5, 63), (5, 64), (5, 65), (2, 127), (2, 128), (2, 191), (70_000, 64), (33_000, 127), (33_000, 128),
        (40_000, 129), (20_000, 255), (66_000, 192),
    ]

    @Test(arguments: ["F32", "F64", "BF16"])
    func anEvaluationIsThatOfTheArray(dtype: String) throws {
        for (input, hidden) in Self.shapes where dtype == "F32" || input < 100 {
            let model = try ModelDescription(
                json: """
                    {"input":{"shape":[\(input)]},"layers":[{"type":"linear","out_features":\(hidden)},{"type":"tanh"},\
                    {"type":"linear","out_features":3}],"loss":"cross_entropy"}
                    """)
            var file = Initializer.initialWeights(for: model, seed: 3)
            if dtype != "F32" {
                for (index, entry) in file.tensors.enumerated() {
                    file.tensors[index].tensor = try Self.converted(entry.tensor, to: dtype)
                }
            }
            let x = Tensor(
                shape: [5, input], floats: (0..<5 * input).map { Float($0 % 17) / 17 - 0.5 })
            let inputs = try Examples(x: x, targets: nil, for: model)
            let evaluator = try Evaluator(model: model, threads: 2, batchSize: 4)
            let expected = try evaluator.predict(Weights(file), inputs)
            _ = try evaluator.predict(Weights(Initializer.initialWeights(for: model, seed: 4)), inputs)
            #expect(try evaluator.predict(WeightsFile(file), inputs) == expected, "\(input) inputs, \(hidden) outputs")
        }
    }

    @Test func everyLayerComesAsFromTheArray() throws {
        let model = try ModelDescription(
            json: """
                {"input":{"shape":[3,8,8]},"layers":[{"type":"conv2d","out_channels":5,"kernel_size":3},{"type":"relu"},\
                {"type":"flatten"},{"type":"layer_norm"},{"type":"linear","out_features":70},{"type":"relu"},\
                {"type":"linear","out_features":2}],"loss":"mse"}
                """)
        let file = Initializer.initialWeights(for: model, seed: 1)
        let x = Tensor(shape: [3, 3, 8, 8], floats: (0..<3 * 192).map { Float($0 % 13) / 13 })
        let inputs = try Examples(x: x, targets: nil, for: model)
        let evaluator = try Evaluator(model: model)
        #expect(try evaluator.predict(WeightsFile(file), inputs) == evaluator.predict(Weights(file), inputs))
    }

    @Test func aBadNumberIsFoundInEveryPiece() throws {
        let model = try ModelDescription(
            json: #"{"input":{"shape":[70000]},"layers":[{"type":"linear","out_features":130}],"loss":"mse"}"#)
        let good = Initializer.initialWeights(for: model, seed: 1)
        let weight = try #require(good["0.weight"])
        for index in [0, 4_479_999, 4_480_000, 9_099_999] {
            var floats = try weight.floats()
            floats[index] = .nan
            var file = good
            file["0.weight"] = Tensor(shape: weight.shape, floats: floats)
            #expect {
                _ = try WeightsFile(file)
            } throws: { error in
                (error as? DeMLError)?.summary == "tensor '0.weight': element \(index) is nan"
            }
        }
        var file = good
        file["0.bias"] = nil
        #expect(throws: DeMLError.self) { _ = try WeightsFile(file) }
        file = good
        file.metadata["deml.model"] = nil
        #expect(throws: DeMLError.self) { _ = try WeightsFile(file) }
    }

    private static func converted(_ tensor: Tensor, to dtype: String) throws -> Tensor {
        let floats = try tensor.floats()
        if dtype == "F64" { return Tensor(shape: tensor.shape, doubles: floats.map(Double.init)) }
        let bytes = floats.flatMap { float in
            withUnsafeBytes(of: UInt16(truncatingIfNeeded: float.bitPattern >> 16).littleEndian) { Array($0) }
        }
        return try Tensor(dtype: .bf16, shape: tensor.shape, bytes: bytes[...])
    }
}
