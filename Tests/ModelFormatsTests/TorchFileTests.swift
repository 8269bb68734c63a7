import ModelFormats
import NeuralNetwork
import Tensors
import Testing

/// State dictionaries, and which tensor is which parameter.
@Suite struct TorchFileTests {
    @Test func theOldAndTheNewFormatHoldTheSame() throws {
        let new = try ForeignModel(contentsOf: fixture("mlp.pth"))
        let old = try ForeignModel(contentsOf: fixture("mlp.old.pth"))
        #expect(new.tensors.map(\.name) == ["1.weight", "1.bias", "3.weight", "3.bias"])
        #expect(new.tensors.map(\.tensor.shape) == [[8, 12], [8], [3, 8], [3]])
        for (one, other) in zip(new.tensors, old.tensors) {
            #expect(one.name == other.name && one.tensor == other.tensor)
        }
    }

    private let mlp = """
        {"input":{"shape":[3,2,2]},"layers":[{"type":"flatten"},{"type":"linear","out_features":8},{"type":"relu"},
        {"type":"linear","out_features":3}],"loss":"mse"}
        """

    @Test func namesOfOursAreTakenAsTheyAre() throws {
        let model = try ModelDescription(json: mlp)
        let file = try ForeignModel(contentsOf: fixture("mlp.pth"))
        let (weights, matching) = try file.weights(for: model)
        #expect(!matching.isByOrder)
        let expected = try Safetensors(contentsOf: fixture("mlp.safetensors"))
        let y = try predict(weights: weights, x: try #require(expected["x"]))
        #expect(try difference(y, try #require(expected["y"])) < 1e-5)
    }

    private let lenet = """
        {"input":{"shape":[1,14,14]},"layers":[{"type":"conv2d","out_channels":4,"kernel_size":3},{"type":"relu"},
        {"type":"max_pool2d","kernel_size":2},{"type":"conv2d","out_channels":8,"kernel_size":3,"padding":1},{"type":"relu"},
        {"type":"max_pool2d","kernel_size":2},{"type":"flatten"},{"type":"linear","out_features":WIDTH},{"type":"relu"},
        {"type":"linear","out_features":5}],"loss":"mse"}
        """

    @Test func otherNamesAreTakenByOrderAndSaid() throws {
        let model = try ModelDescription(json: lenet.replacing("WIDTH", with: "16"))
        let file = try ForeignModel(contentsOf: fixture("lenet.pth"))
        let matching = try file.weights(for: model).matching
        #expect(matching.summary == "taken by order: conv1 → 0, conv2 → 3, fc1 → 7, fc2 → 9")
        // A safetensors file of the same is sorted by name, and its numbers count: conv10 comes behind conv2.
        let sorted = Safetensors(tensors: file.tensors.reversed().map { ($0.name, $0.tensor) })
        let again = try ForeignModel(sorted).weights(for: model)
        #expect(again.matching.summary == matching.summary)
        #expect(again.weights == (try file.weights(for: model).weights))
    }

    @Test func shapesThatDoNotFitAreNamed() throws {
        let model = try ModelDescription(json: lenet.replacing("WIDTH", with: "17"))
        let file = try ForeignModel(contentsOf: fixture("lenet.pth"))
        let error = refusal { _ = try file.weights(for: model) }
        #expect(error?.code == .shape)
        #expect(error?.message.contains("'7.weight' has the shape [17, 72]") == true)
        #expect(error?.message.contains("'fc1.weight' has [16, 72]") == true)
        let fewer = refusal { _ = try file.weights(for: try ModelDescription(json: mlp)) }
        #expect(fewer?.code == .mismatch)
        #expect(fewer?.message.contains("4 tensors") == true && fewer?.message.contains("8 ('conv1.weight'") == true)
    }

    @Test func weightsAloneAreNoModel() throws {
        let error = refusal { _ = try ForeignModel(contentsOf: fixture("lenet.pth")).weights() }
        #expect(error?.hint?.contains("--initial-weights") == true)
    }

    /// Whatever the length of its header, a safetensors file is no pickle.
    @Test func safetensorsAreOurs() throws {
        for length in 0..<64 {
            let file = Safetensors(tensors: [], metadata: ["note": String(repeating: "x", count: length * 8)]).encoded()
            #expect(!ForeignModel.isForeign(start: Array(file.prefix(16)), name: "x.safetensors"), "\(file[0])")
        }
    }
}
