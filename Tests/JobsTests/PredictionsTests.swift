import Foundation
import Jobs
import NeuralNetwork
import Tensors
import Testing

/// Predictions of a stranger: what is not as it must be is refused where it enters.
@Suite struct PredictionsTests {
    private static let model = """
        {"input":{"shape":[2]},"layers":[{"type":"linear","out_features":3}],"loss":"cross_entropy"}
        """

    private func read(_ tensors: [(name: String, tensor: Tensor)], examples: Int = 2) throws -> Predictions {
        let path = NSTemporaryDirectory() + "deml-predictions-\(UUID().uuidString).safetensors.gz"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try Safetensors(tensors: tensors).write(to: path)
        return try Predictions(
            contentsOf: path, model: try ModelDescription(json: Self.model), examples: examples)
    }

    @Test func goodOnesAreTaken() throws {
        let values: [Float] = [0.1, 0.2, 0.7, 1, 0, 0]
        let classes = Tensor(shape: [2], int64s: [2, 0])
        let read = try read([("predictions", Tensor(shape: [2, 3], floats: values)), ("classes", classes)])
        #expect(read.values == values)
    }

    @Test func whatIsWrongIsSaid() throws {
        let good = Tensor(shape: [2, 3], floats: [1, 2, 3, 4, 5, 6])
        let cases: [(DeMLError.Code, [(name: String, tensor: Tensor)], Int)] = [
            (.missing, [("x", good)], 2), (.shape, [("predictions", good)], 3),
            (.shape, [("predictions", Tensor(shape: [3, 2], floats: [1, 2, 3, 4, 5, 6]))], 2),
            (.shape, [("predictions", Tensor(shape: [6], floats: [1, 2, 3, 4, 5, 6]))], 2),
            (.dtype, [("predictions", Tensor(shape: [2, 3], doubles: [1, 2, 3, 4, 5, 6]))], 2),
            (.notFinite, [("predictions", Tensor(shape: [2, 3], floats: [1, 2, 3, .nan, 5, 6]))], 2),
            (.notFinite, [("predictions", Tensor(shape: [2, 3], floats: [1, 2, 3, 4, 5, .infinity]))], 2),
            // More than the answer can have is not even unpacked.
            (
                .tooLarge,
                [
                    ("predictions", good),
                    ("more", Tensor(shape: [8 << 20], bytes: [UInt8](repeating: 0, count: 8 << 20))),
                ], 2
            ),
        ]
        for (code, tensors, examples) in cases {
            let error = #expect(throws: DeMLError.self) { try read(tensors, examples: examples) }
            #expect(error?.code == code, "\(String(describing: error))")
        }
        let path = NSTemporaryDirectory() + "deml-predictions-\(UUID().uuidString)"
        try Files.writeAtomically(Array("nothing of the kind".utf8), to: path)
        defer { try? FileManager.default.removeItem(atPath: path) }
        let model = try ModelDescription(json: Self.model)
        #expect(throws: DeMLError.self) { try Predictions(contentsOf: path, model: model, examples: 2) }
    }
}
