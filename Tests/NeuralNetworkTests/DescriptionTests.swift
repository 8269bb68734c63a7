import NeuralNetwork
import Tensors
import Testing
import Yams

@Suite struct DescriptionTests {
    static let yaml = """
        input: {shape: [1, 28, 28], divide_by: 255, mean: [0.1307], std: 0.3081}
        layers:
          - {type: conv2d, out_channels: 8, kernel_size: 5, padding: same}
          - {type: relu}
          - {type: max_pool2d, kernel_size: 2}
          - type: residual
            layers:
              - {type: conv2d, out_channels: 16, kernel_size: [3, 3], stride: 2, padding: 1}
              - {type: group_norm, num_groups: 4}
              - {type: gelu, approximate: none}
            projection: {type: conv2d, out_channels: 16, kernel_size: 1, stride: 2, bias: false}
          - {type: flatten}
          - {type: dropout, p: 0.25}
          - {type: linear, in_features: 784, out_features: 10}
          - {type: softmax}
        loss: cross_entropy
        """

    @Test func yamlAndJSONAreTheSame() throws {
        let model = try YAMLDecoder().decode(ModelDescription.self, from: Self.yaml)
        #expect(
            model.canonicalJSON
                == #"{"input":{"divide_by":255,"mean":[0.1307],"shape":[1,28,28],"std":[0.3081]},"layers":["#
                + #"{"kernel_size":5,"out_channels":8,"padding":2,"type":"conv2d"},{"type":"relu"},"#
                + #"{"kernel_size":2,"type":"max_pool2d"},"#
                + #"{"layers":[{"kernel_size":3,"out_channels":16,"padding":1,"stride":2,"type":"conv2d"},"#
                + #"{"num_groups":4,"type":"group_norm"},{"type":"gelu"}],"#
                + #""projection":[{"bias":false,"kernel_size":1,"out_channels":16,"stride":2,"type":"conv2d"}],"#
                + #""type":"residual"},{"type":"flatten"},{"p":0.25,"type":"dropout"},"#
                + #"{"in_features":784,"out_features":10,"type":"linear"},{"type":"softmax"}],"loss":"cross_entropy"}"#)
        #expect(try ModelDescription(json: model.canonicalJSON) == model)
        #expect(model.inputShape == [1, 28, 28])
        #expect(model.outputShape == [10])
        #expect(
            model.parameters.map { "\($0.name) \($0.shape)" } == [
                "0.weight [8, 1, 5, 5]", "0.bias [8]", "3.layers.0.weight [16, 8, 3, 3]", "3.layers.0.bias [16]",
                "3.layers.1.weight [16]", "3.layers.1.bias [16]", "3.projection.0.weight [16, 8, 1, 1]",
                "6.weight [10, 784]", "6.bias [10]",
            ])
        #expect(model.parameterCount == 200 + 8 + 1152 + 16 + 32 + 128 + 7840 + 10)
    }

    /// The models of the FedAvg paper have the numbers of parameters that it states.
    @Test func modelsOfThePaper() throws {
        let input = ModelDescription.Input(shape: [1, 28, 28], divideBy: 255)
        let two = try ModelDescription(
            input: input,
            layers: [
                .flatten, .linear(outFeatures: 200), .relu, .linear(outFeatures: 200), .relu, .linear(outFeatures: 10),
            ], loss: .crossEntropy)
        #expect(two.parameterCount == 199_210)
        // One multiply-add a weight, and one for each number of flatten (784) and the two relus (400).
        #expect(two.multiplyAdds == 784 * 200 + 200 * 200 + 200 * 10 + 784 + 400)
        let cnn = try ModelDescription(
            input: input,
            layers: [
                .conv2d(outChannels: 32, kernelSize: 5, padding: 2), .relu, .maxPool2d(.init(kernelSize: 2)),
                .conv2d(outChannels: 64, kernelSize: 5, padding: 2), .relu, .maxPool2d(.init(kernelSize: 2)),
                .flatten, .linear(outFeatures: 512), .relu, .linear(outFeatures: 10),
            ], loss: .crossEntropy)
        #expect(cnn.parameterCount == 1_663_370)
        let products = 784 * 25 * 32 + 196 * 800 * 64 + 3136 * 512 + 512 * 10
        let rest = 784 * 32 * 2 + 196 * 64 * 2 + 3136 + 512  // relu, windows of four, flatten, relu
        #expect(cnn.multiplyAdds == products + rest)
    }

    /// Text of the layers, then what the error must have in it: the place, then words of the message.
    static let mistakes: [(layers: String, code: DeMLError.Code, place: String, words: [String])] = [
        (#"{"type":"linaer","out_features":3}"#, .outOfRange, "layer 0", ["'linaer'", "unknown"]),
        (#"{"type":"flatten"},{"type":"batch_norm2d"}"#, .outOfRange, "layer 1", ["batch_norm", "group_norm"]),
        (#"{"type":"batch_norm","num_features":3}"#, .shape, "layer 0 (batch_norm)", ["3", "[2, 6, 6]"]),
        (#"{"type":"batch_norm","momentum":1.5}"#, .outOfRange, "layer 0 (batch_norm)", ["momentum"]),
        (#"{"type":"batch_norm","track_running_stats":false}"#, .outOfRange, "layer 0", ["track_running_stats"]),
        (#"{"type":"linear","out_feature":3}"#, .outOfRange, "layer 0", ["'out_feature'", "out_features"]),
        (#"{"type":"relu","inplace":true}"#, .outOfRange, "layer 0", ["'inplace'"]),
        (#"{"type":"linear"}"#, .missing, "layer 0", ["out_features"]),
        (#"{"out_features":3}"#, .missing, "layer 0", ["type"]),
        (#"{"type":"linear","out_features":"ten"}"#, .malformed, "layer 0", ["out_features", "integer"]),
        (#"{"type":"linear","out_features":2.5}"#, .malformed, "layer 0", ["out_features", "integer"]),
        (#""relu""#, .malformed, "layer 0", ["mapping"]),
        (
            #"{"type":"conv2d","out_channels":3,"kernel_size":"big"}"#, .malformed, "layer 0",
            ["kernel_size", "integer"]
        ),
        (#"{"type":"residual","layers":3}"#, .malformed, "layer 0.layers", ["mapping"]),
        (#"{"type":"linear","out_features":0}"#, .outOfRange, "layer 0 (linear)", ["out_features 0"]),
        (#"{"type":"linear","out_features":-5}"#, .outOfRange, "layer 0 (linear)", ["-5"]),
        (
            #"{"type":"flatten"},{"type":"linear","in_features":784,"out_features":3}"#, .shape, "layer 1 (linear)",
            ["784", "[72]"]
        ),
        (
            #"{"type":"flatten"},{"type":"conv2d","out_channels":3,"kernel_size":3}"#, .shape, "layer 1 (conv2d)",
            ["[72]"]
        ),
        (#"{"type":"conv2d","out_channels":3,"kernel_size":9}"#, .shape, "layer 0 (conv2d)", ["[9, 9]", "[2, 6, 6]"]),
        (
            #"{"type":"conv2d","out_channels":3,"kernel_size":3,"in_channels":1}"#, .shape, "layer 0 (conv2d)",
            ["1", "[2, 6, 6]"]
        ),
        (
            #"{"type":"conv2d","out_channels":3,"kernel_size":3,"groups":2}"#, .shape, "layer 0 (conv2d)",
            ["groups 2", "3"]
        ),
        (#"{"type":"conv2d","out_channels":4,"kernel_size":3,"groups":0}"#, .shape, "layer 0 (conv2d)", ["groups 0"]),
        (
            #"{"type":"conv2d","out_channels":4,"kernel_size":3,"dilation":3}"#, .shape, "layer 0 (conv2d)",
            ["dilation [3, 3]", "[2, 6, 6]"]
        ),
        (#"{"type":"conv1d","out_channels":4,"kernel_size":3}"#, .shape, "layer 0 (conv1d)", ["[2, 6, 6]"]),
        (
            #"{"type":"conv_transpose2d","out_channels":4,"kernel_size":3,"output_padding":1}"#, .outOfRange,
            "layer 0 (conv_transpose2d)", ["output_padding 1", "stride 1"]
        ),
        (
            #"{"type":"conv_transpose2d","out_channels":4,"kernel_size":1,"padding":9}"#, .shape,
            "layer 0 (conv_transpose2d)", ["padding 9"]
        ),
        (#"{"type":"conv2d","out_channels":3,"kernel_size":[1,2,3]}"#, .malformed, "layer 0.kernel_size", ["3"]),
        (#"{"type":"conv2d","out_channels":3,"kernel_size":2,"padding":"same"}"#, .shape, "layer 0", ["same"]),
        (
            #"{"type":"conv2d","out_channels":3,"kernel_size":3,"stride":0}"#, .outOfRange, "layer 0 (conv2d)",
            ["stride"]
        ),
        (
            #"{"type":"conv2d","out_channels":3,"kernel_size":3,"padding":-1}"#, .outOfRange, "layer 0 (conv2d)",
            ["padding"]
        ),
        (#"{"type":"max_pool2d","kernel_size":2,"padding":2}"#, .shape, "layer 0 (max_pool2d)", ["padding"]),
        (
            #"{"type":"max_pool1d","kernel_size":2}"#, .shape, "layer 0 (max_pool1d)",
            ["[channels, length]", "[2, 6, 6]"]
        ),
        (#"{"type":"avg_pool1d","kernel_size":[2,2]}"#, .malformed, "layer 0", ["avg_pool1d is one number"]),
        (#"{"type":"avg_pool1d","stride":2}"#, .missing, "layer 0", ["kernel_size"]),
        (#"{"type":"adaptive_avg_pool1d"}"#, .missing, "layer 0", ["output_size"]),
        (#"{"type":"max_pool2d","kernel_size":2,"ceil_mode":1}"#, .malformed, "layer 0", ["ceil_mode"]),
        (
            #"{"type":"max_pool2d","kernel_size":2,"count_include_pad":false}"#, .outOfRange, "layer 0",
            ["count_include_pad"]
        ),
        (#"{"type":"gelu","approximate":"sigmoid"}"#, .outOfRange, "layer 0", ["approximate", "sigmoid"]),
        (#"{"type":"elu","alpha":1e300}"#, .outOfRange, "layer 0 (elu)", ["alpha"]),
        (#"{"type":"softplus","beta":0}"#, .outOfRange, "layer 0 (softplus)", ["beta"]),
        (#"{"type":"rescaling"}"#, .missing, "layer 0", ["scale"]),
        (#"{"type":"rescaling","scale":1e39}"#, .outOfRange, "layer 0 (rescaling)", ["scale", "not finite"]),
        (#"{"type":"rescaling","scale":2,"offset":[1,2,3]}"#, .shape, "layer 0 (rescaling)", ["offset", "3 numbers"]),
        (#"{"type":"pad","padding":[1,2,3]}"#, .shape, "layer 0 (pad)", ["[1, 2, 3]", "[2, 6, 6]"]),
        (#"{"type":"pad","padding":-1}"#, .outOfRange, "layer 0 (pad)", ["padding"]),
        (#"{"type":"pad","padding":1,"mode":"reflect"}"#, .outOfRange, "layer 0", ["reflect"]),
        (#"{"type":"upsample"}"#, .usage, "layer 0", ["size", "scale_factor"]),
        (#"{"type":"upsample","scale_factor":1e9}"#, .outOfRange, "layer 0 (upsample)", ["scale_factor", "[2, 6, 6]"]),
        (#"{"type":"upsample","scale_factor":2,"mode":"bicubic"}"#, .outOfRange, "layer 0", ["bicubic"]),
        (#"{"type":"upsample","scale_factor":2,"align_corners":true}"#, .outOfRange, "layer 0", ["align_corners"]),
        (
            #"{"type":"adaptive_avg_pool2d","output_size":0}"#, .outOfRange, "layer 0 (adaptive_avg_pool2d)",
            ["output_size"]
        ),
        (#"{"type":"dropout","p":1}"#, .outOfRange, "layer 0 (dropout)", ["p 1"]),
        (#"{"type":"layer_norm"}"#, .missing, "layer 0 (layer_norm)", ["normalized_shape", "[2, 6, 6]"]),
        (#"{"type":"layer_norm","normalized_shape":[2,6]}"#, .shape, "layer 0 (layer_norm)", ["[2, 6]", "[2, 6, 6]"]),
        (#"{"type":"group_norm","num_groups":3}"#, .shape, "layer 0 (group_norm)", ["3", "[2, 6, 6]"]),
        (
            #"{"type":"residual","layers":[{"type":"conv2d","out_channels":3,"kernel_size":3}]}"#, .shape,
            "layer 0 (residual)", ["[3, 4, 4]", "[2, 6, 6]", "projection"]
        ),
        (
            #"{"type":"residual","layers":[{"type":"relu"},{"type":"linear","out_features":0}]}"#, .outOfRange,
            "layer 0.layers.1 (linear)", []
        ),
        (#"{"type":"residual","layers":[{"type":"relu","x":1}]}"#, .outOfRange, "layer 0.layers.0", ["'x'"]),
        (#"{"type":"residual","layers":[]}"#, .missing, "layer 0 (residual)", []),
        (#"{"type":"concat","branches":[]}"#, .missing, "layer 0 (concat)", []),
        (
            #"{"type":"concat","branches":[[],[{"type":"global_avg_pool2d"}]]}"#, .shape, "layer 0 (concat)",
            ["branch 1", "[2, 1, 1]", "[2, 6, 6]"]
        ),
        (
            #"{"type":"concat","branches":[[],[{"type":"linear","out_features":0}]]}"#, .outOfRange,
            "layer 0.branches.1.0 (linear)", []
        ),
        (
            #"{"type":"gate","layers":[{"type":"flatten"}]}"#, .shape, "layer 0 (gate)",
            ["[72]", "[2, 6, 6]", "[2, 1, 1]"]
        ),
        (#"{"type":"gate","layers":[]}"#, .missing, "layer 0 (gate)", []),
        (
            #"{"type":"flatten"},{"type":"softmax"},{"type":"linear","out_features":3}"#, .mismatch,
            "layer 1 (softmax)", ["last"]
        ),
        (#"{"type":"relu"}"#, .shape, "layer 0", ["[classes]", "[2, 6, 6]"]),
        (#"{"type":"flatten"},{"type":"linear","out_features":1}"#, .shape, "layer 1", ["[1]"]),
        (
            #"{"type":"flatten"},{"type":"linear","out_features":200000000}"#, .tooLarge, "layer 1 (linear)",
            ["[200000000, 72]"]
        ),
        (
            #"{"type":"conv2d","out_channels":268435456,"kernel_size":1,"padding":65535}"#, .tooLarge,
            "layer 0 (conv2d)", []
        ),
    ]

    @Test(arguments: mistakes.indices)
    func mistakesAreNamed(_ index: Int) throws {
        let mistake = Self.mistakes[index]
        let text = #"{"input":{"shape":[2,6,6]},"layers":["# + mistake.layers + #"],"loss":"cross_entropy"}"#
        let error = try #require(throws: DeMLError.self) { try ModelDescription(json: text) }
        #expect(error.code == mistake.code, "\(error)")
        #expect(error.place == mistake.place, "\(error)")
        for word in mistake.words { #expect(error.summary.contains(word), "\(error)") }

        // YAML is a superset of JSON, and its decoder wraps our errors.
        let fromYAML = try #require(throws: (any Error).self) {
            try YAMLDecoder().decode(ModelDescription.self, from: text)
        }
        let unwrapped = DeMLError(decoding: fromYAML, of: "the model")
        #expect(unwrapped.code == mistake.code, "\(unwrapped)")
        for word in mistake.words {
            #expect(unwrapped.summary.contains(word), "\(unwrapped)")
        }
    }

    @Test(arguments: [
        #"{}"#, #"[]"#, #"{"input":{"shape":[]},"layers":[{"type":"relu"}],"loss":"mse"}"#,
        #"{"input":{"shape":[0]},"layers":[{"type":"relu"}],"loss":"mse"}"#,
        #"{"input":{"shape":[-3]},"layers":[{"type":"relu"}],"loss":"mse"}"#,
        #"{"input":{"shape":[4611686018427387904,4]},"layers":[{"type":"relu"}],"loss":"mse"}"#,
        #"{"input":{"shape":[1,1,1,1,1]},"layers":[{"type":"relu"}],"loss":"mse"}"#,
        #"{"input":{"shape":[3],"divide_by":0},"layers":[{"type":"relu"}],"loss":"mse"}"#,
        #"{"input":{"shape":[3],"std":[1,0,1]},"layers":[{"type":"relu"}],"loss":"mse"}"#,
        #"{"input":{"shape":[3],"mean":[1,0]},"layers":[{"type":"relu"}],"loss":"mse"}"#,
        #"{"input":{"shape":[3],"divide":2},"layers":[{"type":"relu"}],"loss":"mse"}"#,
        #"{"input":{"shape":[3]},"layers":[],"loss":"mse"}"#,
        #"{"input":{"shape":[3]},"layers":[{"type":"relu"}],"loss":"mae"}"#,
        #"{"input":{"shape":[3]},"layers":[{"type":"relu"}],"loss":"mse","name":"x"}"#,
        #"{"input":{"shape":[3]},"layers":[{"type":"softmax"}],"loss":"mse"}"#,
        #"{"input":{"shape":[3]},"layers":["relu"],"loss":"mse"}"#, "", "{", "\u{0}",
    ])
    func badDescriptionsAreRefused(_ json: String) {
        #expect(throws: DeMLError.self) { try ModelDescription(json: json) }
    }

    @Test func nestingAndLengthAreBounded() throws {
        func nested(_ depth: Int) -> String {
            #"{"input":{"shape":[3]},"layers":["# + String(repeating: #"{"type":"residual","layers":["#, count: depth)
                + #"{"type":"tanh"}"# + String(repeating: "]}", count: depth) + #"],"loss":"mse"}"#
        }
        #expect(try ModelDescription(json: nested(5)).outputShape == [3])
        for depth in [40, 200, 5000] {
            #expect(throws: DeMLError.self) { try ModelDescription(json: nested(depth)) }
        }
        let many = String(repeating: #"{"type":"tanh"},"#, count: 1000)
        let error = #expect(throws: DeMLError.self) {
            try ModelDescription(
                json: #"{"input":{"shape":[3]},"layers":[\#(many){"type":"tanh"}],"loss":"mse"}"#)
        }
        #expect(error?.code == .tooLarge)
    }

    @Test func losses() throws {
        func model(_ loss: String) throws -> ModelDescription {
            try ModelDescription(
                json: #"{"input":{"shape":[2]},"layers":[{"type":"linear","out_features":2}],"loss":\#(loss)}"#)
        }
        for (text, loss) in [
            ("\"mse\"", ModelDescription.Loss.meanSquaredError), ("\"l1\"", .absoluteError), ("\"huber\"", .huber()),
            ("\"bce_with_logits\"", .binaryCrossEntropy), (#"{"type":"huber","delta":0.5}"#, .huber(delta: 0.5)),
            (#"{"type":"mse"}"#, .meanSquaredError),
        ] {
            let description = try model(text)
            #expect(description.loss == loss)
            #expect(try ModelDescription(json: description.canonicalJSON) == description)
        }
        #expect(try model(#"{"type":"huber","delta":1}"#).canonicalJSON == model("\"huber\"").canonicalJSON)
        for bad in [
            "\"hinge\"", "3", "[]", "{}", #"{"type":"l1","delta":1}"#, #"{"type":"huber","delta":0}"#,
            #"{"type":"huber","delta":-1}"#, #"{"type":"huber","delta":1e300}"#, #"{"type":"huber","beta":1}"#,
        ] {
            #expect(throws: DeMLError.self, "\(bad)") { try model(bad) }
        }
    }

    @Test func trainingOptions() throws {
        let options = try TrainingOptions(
            json: #"{"epochs":5,"optimizer":{"type":"adam","learning_rate":0.002},"seed":18446744073709551615}"#)
        #expect(
            options.canonicalJSON
                == #"{"batch_size":64,"epochs":5,"label_smoothing":0,"optimizer":{"betas":[0.9,0.999],"epsilon":1e-08,"#
                + #""learning_rate":0.002,"type":"adam","weight_decay":0},"seed":18446744073709551615,"shuffle":true}"#)
        #expect(try TrainingOptions(json: options.canonicalJSON) == options)
        #expect(try TrainingOptions(json: #"{"optimizer":"adamw"}"#).optimizer == .adamw())
        #expect(try TrainingOptions(json: #"{"optimizer":"rmsprop"}"#).optimizer == .rmsprop())
        #expect(try TrainingOptions(json: #"{"optimizer":"lion"}"#).optimizer == .lion())
        for optimizer in [
            OptimizerDescription.sgd(learningRate: 0.1, momentum: 0.9, nesterov: true, weightDecay: 1e-4), .adam(),
            .adamw(), .rmsprop(alpha: 0.9, weightDecay: 0.1, momentum: 0.5), .lion(betas: (0.95, 0.98), weightDecay: 1),
        ] {
            let options = TrainingOptions(optimizer: optimizer)
            #expect(try TrainingOptions(json: options.canonicalJSON) == options)
        }
        for bad in [
            #"{"epoch":5}"#, #"{"epochs":0}"#, #"{"optimizer":"adagrad"}"#,
            #"{"optimizer":{"type":"rmsprop","betas":[0.9,0.99]}}"#,
            #"{"optimizer":{"type":"rmsprop","alpha":1}}"#, #"{"optimizer":{"type":"lion","epsilon":1e-8}}"#,
            #"{"optimizer":{"type":"adam","momentum":0.9}}"#,
            #"{"optimizer":{"type":"sgd","betas":[0.9,0.99]}}"#, #"{"optimizer":{"type":"adam","betas":[0.9]}}"#,
            #"{"optimizer":{"type":"adam","betas":[0.9,1]}}"#, #"{"optimizer":{"type":"sgd","lr":1}}"#,
            #"{"optimizer":{"type":"sgd","learning_rate":1e300}}"#, #"{"seed":-1}"#, #"{"label_smoothing":1.5}"#,
        ] {
            #expect(throws: DeMLError.self, "\(bad)") { try TrainingOptions(json: bad) }
        }
    }
}
