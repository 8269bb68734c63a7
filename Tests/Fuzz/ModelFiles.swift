import ModelFormats
import NeuralNetwork
import Tensors

// Model files of other tools: every container, and what lies in it with the container around it right.

extension FuzzTarget {
    static let modelFiles = [torchFile, pickle, exportedProgram, onnx, keras, hdf5]

    /// A model that was read has parameters that fit its layers, and can be written again.
    private static func read(_ bytes: [UInt8], name: String) throws {
        let model = try ForeignModel(bytes, name: name)
        for (_, tensor) in model.tensors {
            try require(tensor.bytes.count == tensor.count * tensor.dtype.byteCount, "a tensor has the wrong size")
        }
        guard model.hasArchitecture else { return }
        let weights = try model.weights()
        try require(weights.parameters.count == weights.model.parameterCount, "the parameters do not fit the layers")
        _ = try? ONNXExport.encode(weights)
    }

    static let torchFile = FuzzTarget(
        name: "pth", batch: 200, seeds: { [try ModelSeeds.torch()] }, read: { try read($0, name: "x.pth") },
        mutate: { $2.bytes($0, other: $1) })

    static let pickle = FuzzTarget(
        name: "pickle", batch: 300, seeds: { [ModelSeeds.pickle] },
        read: { try read(try ModelSeeds.torch(pickle: $0), name: "x.pth") }, mutate: { $2.bytes($0, other: $1) })

    static let exportedProgram = FuzzTarget(
        name: "pt2", batch: 100, seeds: { [Array(ModelSeeds.program.utf8)] },
        read: { try read(try ModelSeeds.exported(program: $0), name: "x.pt2") },
        mutate: { $2.text($0, other: $1, words: ModelSeeds.words) })

    static let onnx = FuzzTarget(
        name: "onnx", batch: 100, seeds: { try ModelSeeds.models().map { try ONNXExport.encode($0) } },
        read: { try read($0, name: "x.onnx") }, mutate: { $2.bytes($0, other: $1) })

    static let keras = FuzzTarget(
        name: "keras", batch: 100, seeds: { [try ModelSeeds.kerasPart("config.json")] },
        read: { try read(try ModelSeeds.keras(config: $0, weights: nil), name: "x.keras") },
        mutate: { $2.text($0, other: $1, words: ModelSeeds.words) })

    static let hdf5 = FuzzTarget(
        name: "hdf5", batch: 200, seeds: { [try ModelSeeds.kerasPart("model.weights.h5")] },
        read: { try read(try ModelSeeds.keras(config: nil, weights: $0), name: "x.keras") },
        mutate: { $2.bytes($0, other: $1) })
}

/// Valid model files to begin with.
enum ModelSeeds {
    static let words = [
        "{", "}", "[", "]", ",", ":", "\"", "null", "true", "-1", "0", "1e308", "99999999999", "\"linear\"",
        "\"Dense\"",
        "\"Conv2D\"", "\"Add\"", "\"as_int\"", "\"as_tensor\"", "\"inbound_nodes\"", "\"same\"", "\"keras_history\"",
    ]

    static func models() throws -> [Weights] {
        let image = "{\"input\":{\"shape\":[2,4,4],\"divide_by\":255},\"layers\":["
        let texts = [
            image
                + "{\"type\":\"conv2d\",\"out_channels\":2,\"kernel_size\":3,\"padding\":1},{\"type\":\"batch_norm\"},{\"type\":\"relu6\"},"
                + "{\"type\":\"residual\",\"layers\":[{\"type\":\"conv2d\",\"out_channels\":2,\"kernel_size\":1},{\"type\":\"silu\"}]},"
                + "{\"type\":\"gate\",\"layers\":[{\"type\":\"global_avg_pool2d\"},{\"type\":\"sigmoid\"}]},"
                + "{\"type\":\"concat\",\"branches\":[[],[{\"type\":\"gelu\"}]]},{\"type\":\"max_pool2d\",\"kernel_size\":2},"
                + "{\"type\":\"flatten\"},{\"type\":\"linear\",\"out_features\":3}],\"loss\":\"cross_entropy\"}",
            "{\"input\":{\"shape\":[3,4]},\"layers\":[{\"type\":\"layer_norm\",\"normalized_shape\":4},{\"type\":\"linear\",\"out_features\":4},"
                + "{\"type\":\"rms_norm\",\"normalized_shape\":4},{\"type\":\"flatten\"},{\"type\":\"linear\",\"out_features\":2}],\"loss\":\"mse\"}",
        ]
        return try texts.map { Initializer.weights(for: try ModelDescription(json: $0), seed: 1) }
    }

    /// `{"0.weight": tensor}` as torch.save writes it, protocol 2.
    static let pickle: [UInt8] = {
        func text(_ text: String) -> [UInt8] { [0x58, UInt8(text.utf8.count), 0, 0, 0] + Array(text.utf8) }
        func name(_ module: String, _ name: String) -> [UInt8] { [0x63] + Array("\(module)\n\(name)\n".utf8) }
        let storage =
            [0x28] + text("storage") + name("torch", "FloatStorage") + text("0") + text("cpu") + [0x4b, 6, 0x74, 0x51]
        let tensor =
            name("torch._utils", "_rebuild_tensor_v2") + [0x28] + storage + [0x4b, 0]
            + [0x4b, 2, 0x4b, 3, 0x86, 0x4b, 3, 0x4b, 1, 0x86, 0x89] + name("collections", "OrderedDict")
            + [0x29, 0x52, 0x74, 0x52]
        return [0x80, 2] + name("collections", "OrderedDict") + [0x29, 0x52, 0x71, 0, 0x28] + text("0.weight") + tensor
            + [0x75, 0x7d, 0x71, 1] + text("_metadata") + [0x4e, 0x73, 0x62, 0x2e]
    }()

    static func torch(pickle: [UInt8] = pickle) throws -> [UInt8] {
        try ZipArchive.encode([
            ("m/data.pkl", pickle), ("m/byteorder", Array("little".utf8)),
            ("m/data/0", [UInt8](repeating: 1, count: 24)), ("m/version", [51, 10]),
        ])
    }

    static let program = """
        {"graph_module":{"graph":{"inputs":[],"outputs":[],"nodes":[
        {"target":"torch.ops.aten.linear.default","inputs":[{"name":"input","arg":{"as_tensor":{"name":"x"}}},
        {"name":"weight","arg":{"as_tensor":{"name":"p"}}},{"name":"bias","arg":{"as_none":true}}],
        "outputs":[{"as_tensor":{"name":"y"}}],"name":"linear"},
        {"target":"torch.ops.aten.add.Tensor","inputs":[{"name":"self","arg":{"as_tensor":{"name":"x"}}},
        {"name":"other","arg":{"as_tensor":{"name":"y"}}}],"outputs":[{"as_tensor":{"name":"z"}}],"name":"add"}],
        "tensor_values":{"x":{"sizes":[{"as_int":4},{"as_int":2}]},"y":{"sizes":[{"as_int":4},{"as_int":2}]},
        "z":{"sizes":[{"as_int":4},{"as_int":2}]}}},
        "signature":{"input_specs":[{"parameter":{"arg":{"name":"p"},"parameter_name":"w"}},
        {"user_input":{"arg":{"as_tensor":{"name":"x"}}}}],
        "output_specs":[{"user_output":{"arg":{"as_tensor":{"name":"z"}}}}]}}}
        """

    static func exported(program: [UInt8]) throws -> [UInt8] {
        let weights = """
            {"config":{"w":{"path_name":"weight_0","use_pickle":false,"tensor_meta":{"dtype":7,
            "sizes":[{"as_int":2},{"as_int":2}],"strides":[{"as_int":2},{"as_int":1}],"storage_offset":{"as_int":0}}}}}
            """
        return try ZipArchive.encode([
            ("m/models/model.json", program), ("m/archive_format", Array("pt2".utf8)),
            ("m/data/weights/model_weights_config.json", Array(weights.utf8)),
            ("m/data/weights/weight_0", [UInt8](repeating: 0, count: 16)),
        ])
    }

    private static let kerasFile = try? KerasExport.encode(try models()[0])
    private static let kerasConfig = try? member("config.json")
    private static let kerasWeights = try? member("model.weights.h5")

    private static func member(_ name: String) throws -> [UInt8] {
        let archive = try ZipArchive(kerasFile ?? [])
        guard let member = archive.members.first(where: { $0.name == name }) else { return [] }
        return Array(try archive.content(of: member, maximumBytes: 1 << 24))
    }

    /// A member of a .keras file; made once.
    static func kerasPart(_ name: String) throws -> [UInt8] {
        guard let part = name == "config.json" ? kerasConfig : kerasWeights else {
            throw DeMLError(.internal, "the seed of a Keras model cannot be made")
        }
        return part
    }

    /// A .keras file with a part of it replaced.
    static func keras(config: [UInt8]?, weights: [UInt8]?) throws -> [UInt8] {
        try ZipArchive.encode([
            ("config.json", try config ?? kerasPart("config.json")),
            ("model.weights.h5", try weights ?? kerasPart("model.weights.h5")),
        ])
    }
}
