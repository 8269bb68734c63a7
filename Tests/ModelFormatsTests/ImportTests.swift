import ModelFormats
import NeuralNetwork
import Tensors
import Testing

/// Models as their own tools write them: what they predict here is what they predict there. Tolerance: 1e-5.
@Suite struct ImportTests {
    static let names = ["mlp", "lenet", "resnet", "dense", "unet", "mixer", "sequence"]

    @Test(arguments: names, ["onnx", "script.onnx", "pt2"])
    func predictionsAreThoseOfTorch(_ name: String, _ kind: String) throws {
        let expected = try Safetensors(contentsOf: fixture("\(name).safetensors"))
        let model = try ForeignModel(contentsOf: fixture("\(name).\(kind)"))
        let isClassifier = name == "lenet" || name == "mixer"
        let weights = try model.weights(loss: isClassifier ? nil : .meanSquaredError)
        #expect(weights.model.loss == (isClassifier ? .crossEntropy : .meanSquaredError))
        let y = try predict(weights: weights, x: try #require(expected["x"]))
        var answer = try #require(expected["y"])
        // A model that ends in log_softmax predicts probabilities here.
        if name == "lenet" {
            answer = Tensor(
                shape: answer.shape, floats: try answer.floats().map { Float(PortableMath.exp(Double($0))) })
        }
        #expect(try difference(y, answer) < 1e-5)
    }

    @Test func structureIsKept() throws {
        let model = try ForeignModel(contentsOf: fixture("resnet.pt2")).weights().model
        let types = model.rows.map(\.type)
        #expect(types.count { $0 == "residual" } == 2 && types.count { $0 == "gate" } == 2)
        #expect(types.count { $0 == "batch_norm" } == 6)
        let names = try ForeignModel(contentsOf: fixture("resnet.pt2")).names
        #expect(names["0.weight"] == "stem.0.weight")
        #expect(names["5.projection.1.running_var"] == "layers.1.downsample.1.running_var")
    }
}
