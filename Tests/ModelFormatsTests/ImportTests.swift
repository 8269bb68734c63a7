import ModelFormats
import NeuralNetwork
import Tensors
import Testing

/// Models as their own tools write them: what they predict here is what they predict there. Tolerance: 1e-5.
@Suite struct ImportTests {
    static let names = ["mlp", "lenet", "resnet", "dense", "unet", "mixer", "sequence", "pools"]

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
        let types = model.layerTable.map(\.type)
        #expect(types.count { $0 == "residual" } == 2 && types.count { $0 == "gate" } == 2)
        #expect(types.count { $0 == "batch_norm" } == 6)
        let names = try ForeignModel(contentsOf: fixture("resnet.pt2")).names
        #expect(names["0.weight"] == "stem.0.weight")
        #expect(names["5.projection.1.running_var"] == "layers.1.downsample.1.running_var")
    }
}

/// Keras models, and what is written for other tools.
@Suite struct KerasTests {
    static let files = [
        "keras_cnn.keras", "keras_cnn.h5", "keras_blocks.keras", "keras_blocks.h5", "keras_table.keras",
        "keras_line.keras",
    ]

    @Test(arguments: files) func predictionsAreThoseOfKeras(_ name: String) throws {
        let stem = try #require(name.split(separator: ".").first)
        let expected = try Safetensors(contentsOf: fixture("\(stem).safetensors"))
        let isClassifier = stem == "keras_cnn"
        let weights = try ForeignModel(contentsOf: fixture(name)).weights(loss: isClassifier ? nil : .meanSquaredError)
        let y = try predict(weights: weights, x: try #require(expected["x"]))
        #expect(try difference(y, try #require(expected["y"])) < 1e-5)
    }

    /// What `model.get_layer(…).weights` are called.
    @Test func namesAreThoseOfLayers() throws {
        let names = try ForeignModel(contentsOf: fixture("keras_blocks.keras")).names
        #expect(names["0.weight"] == "stem/0")
        #expect(names["1.running_var"]?.hasSuffix("/3") == true)
    }

    @Test(arguments: ["keras_cnn.keras", "keras_blocks.h5", "keras_cnn.h5"]) func truncatedFiles(_ name: String) throws
    {
        let whole = try bytes(of: name)
        for count in stride(from: 16, to: whole.count - 1, by: max(7, whole.count / 400)) {
            let error = refusal { _ = try ForeignModel(Array(whole[..<count]), name: name) }
            #expect(error != nil && error?.code != .internal, "\(count) of \(whole.count) bytes")
        }
    }

    /// The links of a group that lead back to the root.
    @Test func groupsInCircles() throws {
        var file = try bytes(of: "keras_cnn.h5")
        let root = Array(file[64..<72])
        for place in 0..<file.count - 24 where file[place...].starts(with: "SNOD".utf8) {
            file.replaceSubrange(place + 16..<place + 24, with: root)
        }
        #expect(refusal { _ = try ForeignModel(file, name: "x.h5") } != nil)
        let archive = try ZipArchive.encode([
            ("config.json", Array("{\"class_name\":\"Sequential\",\"config\":{\"layers\":[]}}".utf8)),
            ("model.weights.h5", file),
        ])
        let error = refusal { _ = try ForeignModel(archive, name: "x.keras") }
        #expect(error?.message.contains("circles") == true)
    }
}

@Suite struct ExportTests {
    /// Written and read again, the same bytes.
    /// Their means over the last axis are no pools of a sequence.
    @Test(arguments: ["layer_norm", "rms_norm"]) func normsOfSequencesAreNorms(_ norm: String) throws {
        let model = try ModelDescription(
            json: """
                {"input":{"shape":[3,4]},"layers":[{"type":"\(norm)","normalized_shape":4},{"type":"flatten"},
                {"type":"linear","out_features":2}],"loss":"mse"}
                """)
        let bytes = try ONNXExport.encode(Initializer.weights(for: model, seed: 1))
        let again = try ForeignModel(bytes, name: "x.onnx").weights(loss: .meanSquaredError)
        #expect(again.model.layerTable.map(\.type) == [norm, "flatten", "linear"])
    }

    @Test(arguments: ImportTests.names) func onnxRoundTrip(_ name: String) throws {
        let weights = try ForeignModel(contentsOf: fixture("\(name).pt2")).weights()
        let file = try ONNXExport.encode(weights)
        let again = try ForeignModel(file, name: "x.onnx").weights(loss: weights.model.loss)
        #expect(try ONNXExport.encode(again) == file)
        #expect(again.parameters == weights.parameters)
    }

    @Test(arguments: ["mlp", "lenet", "resnet", "dense", "sequence"]) func kerasRoundTrip(_ name: String) throws {
        let weights = try ForeignModel(contentsOf: fixture("\(name).pt2")).weights()
        let file = try KerasExport.encode(weights)
        let again = try ForeignModel(file, name: "x.keras").weights(loss: weights.model.loss)
        let x = try #require(try Safetensors(contentsOf: fixture("\(name).safetensors"))["x"])
        #expect(try difference(try predict(weights: again, x: x), try predict(weights: weights, x: x)) < 1e-6)
    }

    /// As ONNX has them: a node for each layer.
    @Test(arguments: ["lstm", "gru"], [false, true])
    func recurrencesOfSeveralLayers(_ type: String, _ isBidirectional: Bool) throws {
        let model = try ModelDescription(
            json: """
                {"input":{"shape":[5,4]},"layers":[
                {"type":"\(type)","hidden_size":6,"num_layers":3,"bidirectional":\(isBidirectional)},
                {"type":"\(type)","hidden_size":6,"bidirectional":\(isBidirectional)},
                {"type":"\(type)","hidden_size":3,"num_layers":2,"output":"last"},
                {"type":"linear","out_features":2}],"loss":"mse"}
                """)
        let weights = Initializer.weights(for: model, seed: 3)
        let file = try ONNXExport.encode(weights)
        let again = try ForeignModel(file, name: "x.onnx").weights(loss: .meanSquaredError)
        #expect(again.model == model)
        #expect(again.parameters == weights.parameters)
        #expect(try ONNXExport.encode(again) == file)

        // In Keras too; there an LSTM's two biases are one, which is their sum.
        let keras = try KerasExport.encode(weights)
        let back = try ForeignModel(keras, name: "x.keras").weights(loss: .meanSquaredError)
        let x = Tensor(shape: [3, 5, 4], floats: (0..<60).map { Float($0 % 7) / 7 - 0.4 })
        #expect(try difference(try predict(weights: back, x: x), try predict(weights: weights, x: x)) < 1e-6)
        let twice = try ForeignModel(try KerasExport.encode(back), name: "x.keras").weights(loss: .meanSquaredError)
        #expect(twice.model == back.model && twice.parameters == back.parameters)
    }

    @Test func embeddingsAndLastStepsOfBothDirectionsGoToKerasAndBack() throws {
        let model = try ModelDescription(
            json: """
                {"input":{"shape":[6],"tokens":11},"layers":[{"type":"embedding","embedding_dim":4},
                {"type":"gru","hidden_size":3,"bias":false},
                {"type":"lstm","hidden_size":5,"num_layers":2,"dropout":0.25,"bidirectional":true,"output":"last"},
                {"type":"linear","out_features":2}],"loss":"cross_entropy"}
                """)
        let weights = Initializer.weights(for: model, seed: 4)
        let file = try KerasExport.encode(weights)
        let again = try ForeignModel(file, name: "x.keras").weights(loss: .crossEntropy)
        #expect(again.model.layerTable.map(\.type) == ["embedding", "gru", "lstm", "dropout", "lstm", "linear"])
        let x = Tensor(shape: [4, 6], bytes: (0..<24).map { UInt8($0 * 5 % 11) })
        #expect(try difference(try predict(weights: again, x: x), try predict(weights: weights, x: x)) < 1e-6)
        let onnx = try ForeignModel(try ONNXExport.encode(again), name: "x.onnx").weights(loss: .crossEntropy)
        #expect(onnx.model == again.model && onnx.parameters == again.parameters)
        let twice = try ForeignModel(try KerasExport.encode(again), name: "x.keras").weights(loss: .crossEntropy)
        #expect(twice.model == again.model && twice.parameters == again.parameters)
    }

    /// Between an embedding and a convolution a sequence would have to be turned.
    @Test func aSequenceThatIsTurnedWithinIsRefused() throws {
        let layers = """
            {"type":"conv1d","out_channels":3,"kernel_size":2},{"type":"relu"},{"type":"max_pool1d","kernel_size":2},
            {"type":"adaptive_avg_pool1d","output_size":1},{"type":"flatten"},{"type":"linear","out_features":2}
            """
        let model = try ModelDescription(
            json: "{\"input\":{\"shape\":[2,9]},\"layers\":[\(layers)],\"loss\":\"mse\"}")
        let weights = Initializer.weights(for: model, seed: 3)
        let again = try ForeignModel(try KerasExport.encode(weights), name: "x.keras").weights(loss: .meanSquaredError)
        #expect(again.model.inputShape == [2, 9] && again.parameters == weights.parameters)
        let mixed = try ModelDescription(
            json:
                "{\"input\":{\"shape\":[2,9]},\"layers\":[{\"type\":\"linear\",\"out_features\":9},\(layers)],\"loss\":\"mse\"}"
        )
        let error = refusal { _ = try KerasExport.encode(Initializer.weights(for: mixed, seed: 1)) }
        #expect(error?.place == "layer 0 (linear)")
    }

    @Test func whatKerasHasNotIsRefusedByName() throws {
        let model = try ModelDescription(
            json: """
                {"input":{"shape":[1,6,6]},"layers":[{"type":"max_pool2d","kernel_size":3,"padding":1},{"type":"flatten"}],
                "loss":"mse"}
                """)
        let error = refusal { _ = try KerasExport.encode(Initializer.weights(for: model, seed: 1)) }
        #expect(error?.place == "layer 0 (max_pool2d)")
    }

    @Test func theModuleSaysItsInput() throws {
        let model = try ModelDescription(
            json: """
                {"input":{"shape":[3,2,2],"divide_by":255,"mean":[0.1,0.2,0.3],"std":[0.5]},
                "layers":[{"type":"flatten"},{"type":"linear","out_features":2}],"loss":"cross_entropy"}
                """)
        let text = try TorchModule.source(of: Initializer.weights(for: model, seed: 1), weightsName: "m.safetensors")
        #expect(text.contains("nn.Linear(12, 2),"))
        #expect(
            text.contains(
                "return super().forward((x / 255 - torch.tensor([0.1, 0.2, 0.3], device=x.device).view(-1, 1, 1)) / 0.5)"
            ))
    }
}

/// Protobufs whose lengths lie, and graphs that are no tree.
@Suite struct ONNXHostileTests {
    @Test func lengthsThatLie() {
        let files: [[UInt8]] = [
            [0x08, 9, 0x3a] + [UInt8](repeating: 0xff, count: 8) + [0x0f, 0x0a, 2],
            [0x08, 9, 0x3a, 0x0e, 0x2a, 0x0c, 8, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20, 0x10, 1, 0x4a, 1, 0],
            [0x08] + [UInt8](repeating: 0xff, count: 12),
            [0x3a, 0x7f], [],
        ]
        for file in files {
            let error = refusal { _ = try ForeignModel(file, name: "x.onnx") }
            #expect(error != nil && error?.code != .internal)
        }
    }

    @Test(arguments: ["resnet.onnx", "dense.script.onnx"]) func truncatedFiles(_ name: String) throws {
        let whole = try bytes(of: name)
        for count in stride(from: 0, to: whole.count - 1, by: 41) {
            let error = refusal { _ = try ForeignModel(Array(whole[..<count]), name: name) }
            #expect(error != nil && error?.code != .internal, "\(count) of \(whole.count) bytes")
        }
    }
}
