import Datasets
import Foundation
import Jobs
import NeuralNetwork
import Tensors

/// Valid inputs to begin with.
enum Seeds {
    static let words = [
        "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u0000", "\\ud800", "(", ")", "'", "\n", "\r\n", ";", "\t", " ",
        "\"dtype\"", "\"shape\"", "\"data_offsets\"", "\"__metadata__\"", "\"F32\"", "\"BF16\"", "\"BOOL\"", "\"I64\"",
        "\"layers\"", "\"type\"", "\"linear\"", "\"conv2d\"", "\"out_features\"", "\"kernel_size\"", "\"stride\"",
        "\"padding\"", "\"residual\"", "\"flatten\"", "\"max_pool2d\"", "\"group_norm\"", "\"input\"", "\"mean\"",
        "\"loss\"", "'descr'", "'<f4'", "'|u1'", "'>f4'", "True", "False", "nan", "1e308", "-", "+", ".", "label",
        "\u{feff}", "deml.model", "é", "\u{0}", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    ]

    static let shard = Safetensors(
        tensors: [
            ("x", Tensor(shape: [6, 1, 2, 2], bytes: (0..<24).map { UInt8($0) })),
            ("y", Tensor(shape: [6], int64s: [0, 1, 2, 0, 1, 2])),
        ], metadata: ["deml.dataset": "fuzz"]
    ).encoded()

    static let safetensors: [[UInt8]] = [
        shard,
        Safetensors().encoded(),
        Safetensors(tensors: [("", Tensor(shape: [], floats: [1]))], metadata: ["a": "\"\\\n\u{1}😀"]).encoded(),
        Safetensors(tensors: [
            ("a", Tensor(shape: [2, 0], doubles: [])), ("b", Tensor(shape: [3], doubles: [1, .nan, 3])),
            ("c", Tensor(shape: [1, 2], int32s: [-1, 1])), ("d", Tensor(shape: [0, 3], floats: [])),
        ]).encoded(),
    ]

    static func gzip() throws -> [[UInt8]] {
        let text = Array(models[0].utf8)
        return [
            try Gzip.compress([]), try Gzip.compress(text), try Gzip.compress(text, level: 0),
            try Gzip.compress(text + text, level: 9) + Gzip.compress(text),
            try Gzip.compress([UInt8](repeating: 0, count: 100_000)),
        ]
    }

    static let npy: [[UInt8]] = [
        array("|u1", "(6, 2, 2)", count: 24), array("<i8", "(6,)", count: 48, size: 8),
        array("<f4", "(2, 3)", count: 24),
        array("<f8", "()", count: 8), array("|b1", "(0, 5)", count: 0), array(">i2", "(3, 2)", count: 12),
    ]

    /// Texts are classes, and no numbers.
    static let npzOfTexts: [UInt8] = {
        var labels = array("<U1", "(6,)", count: 24, size: 4)
        for index in stride(from: labels.count - 24, to: labels.count, by: 4) { labels[index] += UInt8(ascii: "a") }
        return ZipWriter.archive([("x.npy", array("<f4", "(6, 2)", count: 48)), ("y.npy", labels)])
    }()

    static let npz: [[UInt8]] = [
        ZipWriter.archive([("x.npy", npy[0]), ("y.npy", npy[1])]),
        ZipWriter.archive([("x_train.npy", npy[0]), ("y_train.npy", npy[1])], deflate: true),
        ZipWriter.archive([]),
    ]

    private static func array(_ type: String, _ shape: String, count: Int, size: Int = 1) -> [UInt8] {
        var header = "{'descr': '\(type)', 'fortran_order': False, 'shape': \(shape), }"
        header += String(repeating: " ", count: 118 - header.utf8.count - 1) + "\n"
        return [0x93] + Array("NUMPY".utf8) + [1, 0, 118, 0] + Array(header.utf8)
            + (0..<count).map { $0 % size == 0 ? UInt8($0 / size % 3) : 0 }
    }

    static let idx: [[UInt8]] = [
        [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 1, 1, 2, 3, 4], [0, 0, 8, 1, 0, 0, 0, 2, 0, 1],
        [0, 0, 0x0e, 1, 0, 0, 0, 1, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0], [0, 0, 0x0c, 2, 0, 0, 0, 0, 0, 0, 0, 9],
    ]

    static let play =
        "ROMEO:\nBut soft, what light\n\nJULIET:\nAy me!\n\nROMEO:\nShe speaks.\n\nJULIET:\nO Romeo, Romeo!\n"

    static let csv = [
        "label,b,c\n1,3,4\n2,5,6\n0,7,8\n1,2,3\n2,3,4\n0,4,5\n", "a;label;b\n1.5;yes;-2e-3\n2.5;no;\"3\"\n0;yes;1e3\n",
        "x\ty\tlabel\r\n0.5\t1\tp\r\n-1\t3\tq\r\n7\t3\tp\r\n",
        "\u{feff}\"label\",\"y \"\"z\"\"\"\n\"a, b\",1\n\"c\",2\n",
    ]

    /// A grey and a colour PNG, and a JPEG.
    static let pictures: [[UInt8]] = [
        "iVBORw0KGgoAAAANSUhEUgAAAAMAAAACCAAAAAC4HznGAAAAEElEQVR4nGNgSDnBYDTtFwAJBALvvOwyagAAAABJ"
            + "RU5ErkJggg==",
        "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAEklEQVR4nGP4z8DAAMIM/4EAAB/uBfsL2WiLAAAA"
            + "AElFTkSuQmCC",
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJ"
            + "BwYGCAsICQoKCgoKBggLDAsKDAkKCgr/2wBDAQICAgICAgUDAwUKBwYHCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoK"
            + "CgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgr/wAARCAAIAAgDAREAAhEBAxEB/8QAHwAAAQUBAQEBAQEAAAAAAAAA"
            + "AAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUFBAQAAAF9AQIDAAQRBRIhMUEGE1FhByJxFDKBkaEII0KxwRVS0fAk"
            + "M2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RFRkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJipKT"
            + "lJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3+Pn6/8QA"
            + "HwEAAwEBAQEBAQEBAQAAAAAAAAECAwQFBgcICQoL/8QAtREAAgECBAQDBAcFBAQAAQJ3AAECAxEEBSExBhJBUQdh"
            + "cRMiMoEIFEKRobHBCSMzUvAVYnLRChYkNOEl8RcYGRomJygpKjU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hp"
            + "anN0dXZ3eHl6goOEhYaHiImKkpOUlZaXmJmaoqOkpaanqKmqsrO0tba3uLm6wsPExcbHyMnK0tPU1dbX2Nna4uPk"
            + "5ebn6Onq8vP09fb3+Pn6/9oADAMBAAIRAxEAPwD80f2qv+YD/wBvX/tGv6o/Zl/81X/3I/8Au4f2p+0M/wCaZ/7n"
            + "f/dQ/9k=",
    ].compactMap { Data(base64Encoded: $0).map(Array.init) }

    /// That of the second table.
    static func schema() throws -> Schema {
        let schema = Schema(
            features: .table([
                Schema.Feature(name: "a", kind: .number(mean: 0.5, deviation: 2), hasMissing: true),
                Schema.Feature(name: "b", kind: .category(["-2e-3", "3", "1e3"])),
            ]), target: .classes(["no", "yes"], column: "label"),
            source: Schema.Source(sha256: String(repeating: "0", count: 64), testFraction: 0.2, seed: 0))
        return try Schema(json: schema.canonicalJSON)
    }

    static let models = [
        """
        {"input":{"shape":[1,28,28],"divide_by":255,"mean":[0.1307],"std":[0.3081]},"layers":[{"type":"flatten"},\
        {"type":"linear","out_features":128},{"type":"relu"},{"type":"dropout","p":0.2},\
        {"type":"linear","out_features":10}],"loss":"cross_entropy"}
        """,
        """
        {"input":{"shape":[3,8,8]},"layers":[{"type":"conv2d","out_channels":4,"kernel_size":3,"stride":1,"padding":1},\
        {"type":"group_norm","num_groups":2,"num_channels":4},{"type":"max_pool2d","kernel_size":2},\
        {"type":"residual","layers":[{"type":"conv2d","out_channels":4,"kernel_size":3,"padding":1},{"type":"gelu"}]},\
        {"type":"avg_pool2d","kernel_size":[2,1],"stride":2},{"type":"flatten"},\
        {"type":"linear","out_features":3,"bias":false},{"type":"softmax"}],"loss":"cross_entropy"}
        """,
        """
        {"input":{"shape":[4]},"layers":[{"type":"linear","out_features":8},{"type":"layer_norm"},{"type":"tanh"},\
        {"type":"leaky_relu","negative_slope":0.1},{"type":"sigmoid"},{"type":"linear","out_features":2}],"loss":"mse"}
        """,
        """
        {"input":{"shape":[6],"tokens":9},"layers":[{"type":"embedding","embedding_dim":4,"padding_idx":1},\
        {"type":"positional_embedding","kind":"sinusoidal"},\
        {"type":"residual","layers":[{"type":"attention","num_heads":2,"causal":true,"naming":"gpt","dropout":0.1}]},\
        {"type":"lstm","hidden_size":4,"num_layers":2,"bidirectional":true},{"type":"gru","hidden_size":4,"bias":false},\
        {"type":"tied_linear","bias":true}],"loss":{"type":"cross_entropy","ignore_index":-100}}
        """,
    ]

    /// Takes what is in ``shard``.
    static let modelOfShard = """
        {"input":{"shape":[1,2,2]},"layers":[{"type":"flatten"},{"type":"linear","out_features":3}],\
        "loss":"cross_entropy"}
        """

    static let options = [
        """
        {"epochs":2,"batch_size":10,"optimizer":{"type":"sgd","learning_rate":0.1,"momentum":0.9,"nesterov":true,\
        "weight_decay":0.0001},"seed":7,"shuffle":false}
        """,
        TrainingOptions().canonicalJSON, TrainingOptions(steps: 500).canonicalJSON,
    ]

    static let report = """
        {"status":"ok","command":"train","examples":600,"steps":10,"epochs":[{"loss":0.5,"accuracy":0.9,"seconds":0.1}],\
        "stopped_early":false,"seconds":0.5,\
        "samples_per_second":1234.5,"weights_sha256":"00","shard_sha256":"01",\
        "delta_sha256":"0000000000000000000000000000000000000000000000000000000000000002","threads":2,\
        "isa":"avx2","version":"0.1.0"}
        """

    static func weights() throws -> [[UInt8]] {
        try [1, 2].map { index in
            let model = try ModelDescription(json: models[index])
            return Initializer.initialWeights(for: model, seed: 1).encoded()
        }
    }

    static let stateOptions = [
        TrainingOptions(epochs: 2, batchSize: 2), TrainingOptions(epochs: 2, batchSize: 2, optimizer: .adam()),
        TrainingOptions(epochs: 2, batchSize: 1, optimizer: .sgd(momentum: 0.9), accumulateSteps: 2),
        TrainingOptions(batchSize: 2, steps: 5),
    ]

    static func stateExamples() throws(DeMLError) -> Examples {
        let file = try Safetensors(decoding: shard)
        guard let x = file["x"], let y = file["y"] else { throw DeMLError(.internal, "the shard has no examples") }
        return try Examples(x: x, y: y, for: ModelDescription(json: modelOfShard))
    }

    /// Trainings that were stopped after a step, between two epochs, and not begun.
    static func states() throws -> [[UInt8]] {
        try stateOptions.flatMap { options in
            try [0, 1, 3].map { stop in
                let trainer = try Trainer(
                    weights: Initializer.weights(for: try ModelDescription(json: modelOfShard), seed: 1),
                    options: options)
                var steps = 0
                if stop > 0 {
                    _ = try trainer.train(
                        on: try stateExamples(), shouldStop: { steps == stop }, onBatch: { steps = $0.step })
                }
                return trainer.state.safetensors().encoded()
            }
        }
    }

    static func deltas() throws -> [[UInt8]] {
        let model = try ModelDescription(json: models[2])
        let delta = Delta(
            parameters: (0..<model.parameterCount).map { Float($0) / 64 }, examples: 100, steps: 7,
            weightsSHA256: sha256Hex([1]), shardSHA256: sha256Hex([2]), options: TrainingOptions())
        let file = delta.safetensors(model).encoded()
        return [file, try Gzip.compress(file)]
    }
}
