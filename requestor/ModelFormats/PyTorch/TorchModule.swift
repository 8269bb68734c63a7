import Foundation
import NeuralNetwork
import Tensors

/// Writes a model as a short Python module: the `nn.Module` whose `load_state_dict` takes the weights file.
public enum TorchModule {
    /// - Parameters:
    ///   - weightsName: of the safetensors file beside it.
    /// - Throws: `malformed` for a layer that torch has no module of.
    public static func source(of weights: Weights, weightsName: String) throws(DeMLError) -> String {
        let model = weights.model
        let layers = try WalkedLayer.walk(weights)
        var lines = [
            "\"\"\"\(weightsName): the module that fits it.",
            "",
            "    from safetensors.torch import load_file",
            "    model = Model()",
            "    model.load_state_dict(load_file(\"\(weightsName)\"), strict=False)  # counters of batch norm are not kept",
            "    model.eval()",
            "",
            "Takes \(shape(model.inputShape)) and gives \(shape(model.outputShape)) for each example.",
            "\"\"\"",
            "import torch",
            "from torch import nn",
            "",
            "",
        ]
        var used: Set<String> = []
        collect(layers, &used)
        for (type, text) in helpers where used.contains(type) {
            lines += text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init) + ["", ""]
        }
        lines += ["class Model(nn.Sequential):", "    def __init__(self):", "        super().__init__("]
        for layer in layers { lines.append("            \(try expression(layer)),") }
        lines.append("        )")
        if layers.last?.type == "tied_linear" { lines.append("        self[-1].embedding.append(self[0])") }
        lines += scaling(model.input)
        return lines.joined(separator: "\n") + "\n"
    }

    private static func shape(_ sizes: [Int]) -> String { "[" + sizes.map(String.init).joined(separator: ", ") + "]" }

    private static func collect(_ layers: [WalkedLayer], _ used: inout Set<String>) {
        for layer in layers {
            used.insert(layer.type)
            for branch in layer.branches.values.joined() { collect(branch, &used) }
        }
    }

    private static let helpers = [
        (
            "positional_embedding",
            """
            class PositionalEmbedding(nn.Module):
                def __init__(self, rows, width, learned=True):
                    super().__init__()
                    table = torch.zeros(rows, width)
                    if not learned:
                        angle = torch.arange(rows)[:, None] / 10000 ** (torch.arange(0, width, 2)[None] / width)
                        table[:, 0::2], table[:, 1::2] = torch.sin(angle), torch.cos(angle)[:, : width // 2]
                    if learned:
                        self.weight = nn.Parameter(table)
                    else:
                        self.register_buffer("weight", table, persistent=False)

                def forward(self, x):
                    return x + self.weight[: x.shape[1]]
            """
        ),
        (
            "attention",
            """
            class Attention(nn.MultiheadAttention):
                def __init__(self, width, heads, bias, causal, dropout):
                    super().__init__(width, heads, dropout=dropout, bias=bias, batch_first=True)
                    self.causal = causal

                def forward(self, x):
                    mask = None
                    if self.causal:
                        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], device=x.device)
                    return super().forward(x, x, x, need_weights=False, attn_mask=mask)[0]


            class FusedAttention(nn.Module):
                def __init__(self, width, heads, bias, causal, dropout):
                    super().__init__()
                    self.c_attn = nn.Linear(width, 3 * width, bias=bias)
                    self.c_proj = nn.Linear(width, width, bias=bias)
                    self.heads, self.causal, self.dropout = heads, causal, dropout

                def forward(self, x):
                    n, t, c = x.shape
                    q, k, v = (p.view(n, t, self.heads, -1).transpose(1, 2) for p in self.c_attn(x).split(c, dim=2))
                    y = nn.functional.scaled_dot_product_attention(
                        q, k, v, is_causal=self.causal, dropout_p=self.dropout if self.training else 0)
                    return self.c_proj(y.transpose(1, 2).reshape(n, t, c))
            """
        ),
        (
            "lstm", recurrent("LSTM")
        ),
        (
            "gru", recurrent("GRU")
        ),
        (
            "tied_linear",
            """
            class TiedLinear(nn.Module):
                def __init__(self, outputs, bias):
                    super().__init__()
                    self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
                    self.embedding = []  # a list, so that the weight has one name

                def forward(self, x):
                    return nn.functional.linear(x, self.embedding[0].weight, self.bias)
            """
        ),
        (
            "rescaling",
            """
            class Rescaling(nn.Module):
                def __init__(self, scale, offset):
                    super().__init__()
                    self.register_buffer("scale", torch.tensor(scale), persistent=False)
                    self.register_buffer("offset", torch.tensor(offset), persistent=False)

                def forward(self, x):
                    return x * self.scale + self.offset
            """
        ),
        (
            "residual",
            """
            class Residual(nn.Module):
                def __init__(self, layers, projection=None):
                    super().__init__()
                    self.layers = layers
                    self.projection = projection

                def forward(self, x):
                    return self.layers(x) + (x if self.projection is None else self.projection(x))
            """
        ),
        (
            "concat",
            """
            class Concat(nn.Module):
                def __init__(self, *branches):
                    super().__init__()
                    self.branches = nn.ModuleList(branches)

                def forward(self, x):
                    return torch.cat([branch(x) for branch in self.branches], dim=1)
            """
        ),
        (
            "gate",
            """
            class Gate(nn.Module):
                def __init__(self, layers):
                    super().__init__()
                    self.layers = layers

                def forward(self, x):
                    return x * self.layers(x)
            """
        ),
    ]

    private static func recurrent(_ name: String) -> String {
        """
        class \(name)(nn.\(name)):
            def __init__(self, *sizes, last=False, **options):
                super().__init__(*sizes, batch_first=True, **options)
                self.last = last

            def forward(self, x):
                y = super().forward(x)[0]
                if not self.last:
                    return y
                h = self.hidden_size
                return torch.cat([y[:, -1, :h], y[:, 0, h:]], dim=1)
        """
    }

    /// What the model does with its input before the first layer.
    private static func scaling(_ input: ModelDescription.Input) -> [String] {
        var text = "x"
        func tensor(_ values: [Double]) -> String {
            guard values.count > 1 else { return number(values[0]) }
            let ones = [String](repeating: "1", count: input.shape.count - 1)
            let list = values.map(number).joined(separator: ", ")
            return "torch.tensor([\(list)], device=x.device).view(\((["-1"] + ones).joined(separator: ", ")))"
        }
        if input.divideBy != 1 { text += " / \(number(input.divideBy))" }
        if !input.mean.isEmpty { text = "(\(text) - \(tensor(input.mean)))" }
        if !input.standardDeviation.isEmpty { text += " / \(tensor(input.standardDeviation))" }
        guard text != "x" else { return [] }
        return ["", "    def forward(self, x):", "        return super().forward(\(text))"]
    }

    private static func number(_ value: Double) -> String {
        value.rounded() == value && abs(value) < 1e15 ? "\(Int(value))" : "\(value)"
    }

    private static func sequence(_ layers: [WalkedLayer]) throws(DeMLError) -> String {
        var parts: [String] = []
        for layer in layers { parts.append(try expression(layer)) }
        return "nn.Sequential(\(parts.joined(separator: ", ")))"
    }

    private static func pair(_ sizes: [Int]) -> String {
        Set(sizes).count == 1 ? "\(sizes[0])" : "(\(sizes.map(String.init).joined(separator: ", ")))"
    }

    private static func expression(_ layer: WalkedLayer) throws(DeMLError) -> String {
        func call(_ name: String, _ arguments: [String?]) -> String {
            "nn.\(name)(\(arguments.compactMap { $0 }.joined(separator: ", ")))"
        }
        func option(_ key: String, _ name: String? = nil) -> String? {
            layer.options[key]?.double.map { "\(name ?? key)=\(number($0))" }
        }
        func size(_ key: String) -> String? {
            layer.options[key].map { _ in "\(key)=\(pair(layer.sizes(key, 0)))" }
        }
        let bias = layer.bool("bias", true) ? nil : "bias=False"
        let channels = layer.input.first ?? 0
        switch layer.type {
        case "flatten": return "nn.Flatten()"
        case "linear": return call("Linear", ["\(layer.input.last ?? 0)", "\(layer.output.last ?? 0)", bias])
        case "conv1d", "conv2d", "conv_transpose2d":
            let name = layer.type == "conv1d" ? "Conv1d" : layer.type == "conv2d" ? "Conv2d" : "ConvTranspose2d"
            return call(
                name,
                [
                    "\(channels)", "\(layer.output[0])", pair(layer.sizes("kernel_size", 1)), size("stride"),
                    size("padding"), size("output_padding"), option("groups"), size("dilation"), bias,
                ])
        case "max_pool2d", "avg_pool2d", "max_pool1d", "avg_pool1d":
            return call(
                (layer.type.hasPrefix("max") ? "MaxPool" : "AvgPool") + layer.type.suffix(2),
                [
                    pair(layer.sizes("kernel_size", 1)), size("stride"), size("padding"),
                    layer.bool("ceil_mode", false) ? "ceil_mode=True" : nil,
                    layer.bool("count_include_pad", true) ? nil : "count_include_pad=False",
                ])
        case "global_avg_pool2d": return "nn.AdaptiveAvgPool2d(1)"
        case "adaptive_avg_pool2d", "adaptive_avg_pool1d":
            return call("AdaptiveAvgPool" + layer.type.suffix(2), [pair(layer.sizes("output_size", 1))])
        case "upsample":
            let factors = layer.options["scale_factor"]
            let list = factors?.list?.compactMap(\.double).map(number).joined(separator: ", ")
            return call(
                "Upsample",
                [
                    size("size"), list.map { "scale_factor=(\($0))" } ?? option("scale_factor"),
                    layer.options["mode"]?.text.map { "mode=\"\($0)\"" },
                ])
        case "pad":
            let sides = layer.options["padding"]?.ints ?? [layer.int("padding") ?? 0]
            let name = layer.input.count == 2 ? "ConstantPad1d" : "ConstantPad2d"
            return call(name, [pair(sides), number(layer.double("value", 0))])
        case "batch_norm":
            return call(
                layer.input.count == 3 ? "BatchNorm2d" : "BatchNorm1d",
                ["\(channels)", option("eps"), option("momentum"), layer.bool("affine", true) ? nil : "affine=False"])
        case "layer_norm", "rms_norm":
            let shape =
                layer.options["normalized_shape"]?.ints ?? layer.int("normalized_shape").map { [$0] } ?? layer.input
            return call(
                layer.type == "layer_norm" ? "LayerNorm" : "RMSNorm",
                [
                    self.shape(shape), layer.options["eps"] == nil && layer.type == "rms_norm" ? nil : option("eps"),
                    layer.bool("elementwise_affine", true) ? nil : "elementwise_affine=False", bias,
                ])
        case "group_norm":
            return call(
                "GroupNorm",
                [
                    "\(layer.int("num_groups") ?? 1)", "\(channels)", option("eps"),
                    layer.bool("affine", true) ? nil : "affine=False",
                ])
        case "relu": return "nn.ReLU()"
        case "relu6": return "nn.ReLU6()"
        case "leaky_relu": return call("LeakyReLU", [option("negative_slope")])
        case "gelu": return call("GELU", [layer.options["approximate"]?.text.map { "approximate=\"\($0)\"" }])
        case "tanh": return "nn.Tanh()"
        case "sigmoid": return "nn.Sigmoid()"
        case "silu": return "nn.SiLU()"
        case "hard_sigmoid": return "nn.Hardsigmoid()"
        case "hard_swish": return "nn.Hardswish()"
        case "elu": return call("ELU", [option("alpha")])
        case "rescaling":
            let (scale, offset) = layer.rescaling
            func numbers(_ values: [Double]) -> String {
                // Beside each other on the first dimension of an example.
                let inner = values.count > 1 ? String(repeating: "[", count: layer.input.count - 1) : ""
                let list = values.map { inner + number($0) + inner.replacing("[", with: "]") }
                return "[" + list.joined(separator: ", ") + "]"
            }
            return "Rescaling(\(numbers(scale)), \(numbers(offset)))"
        case "softplus": return call("Softplus", [option("beta"), option("threshold")])
        case "softmax": return "nn.Softmax(dim=-1)"
        case "log_softmax": return "nn.LogSoftmax(dim=-1)"
        case "dropout": return call("Dropout", [option("p")])
        case "embedding":
            let rows = layer.parameters["weight"]?.shape.first ?? 1
            return call("Embedding", ["\(rows)", "\(layer.output.last ?? 1)", option("padding_idx")])
        case "positional_embedding":
            let rows = layer.int("max_length") ?? layer.input[0]
            let isLearned = layer.options["kind"]?.text != "sinusoidal"
            return "PositionalEmbedding(\(rows), \(layer.input[1])\(isLearned ? "" : ", learned=False"))"
        case "attention":
            let name = layer.options["naming"]?.text == "gpt" ? "FusedAttention" : "Attention"
            func word(_ value: Bool) -> String { value ? "True" : "False" }
            return "\(name)(\(layer.input[1]), \(layer.int("num_heads") ?? 1), bias=\(word(layer.bool("bias", true))), "
                + "causal=\(word(layer.bool("causal", false))), dropout=\(number(layer.double("dropout", 0))))"
        case "lstm", "gru":
            let arguments = [
                "\(layer.input[1])", "\(layer.int("hidden_size") ?? 1)", option("num_layers"), option("dropout"), bias,
                layer.bool("bidirectional", false) ? "bidirectional=True" : nil,
                layer.options["output"]?.text == "last" ? "last=True" : nil,
            ]
            return "\(layer.type.uppercased())(\(arguments.compactMap { $0 }.joined(separator: ", ")))"
        case "tied_linear":
            return "TiedLinear(\(layer.output.last ?? 1), bias=\(layer.bool("bias", false) ? "True" : "False"))"
        case "residual":
            let projection = layer.branches["projection"]?.first.flatMap { $0.isEmpty ? nil : $0 }
            let body = try sequence(layer.branches["layers"]?.first ?? [])
            guard let projection else { return "Residual(\(body))" }
            return "Residual(\(body), \(try sequence(projection)))"
        case "gate": return "Gate(\(try sequence(layer.branches["layers"]?.first ?? [])))"
        case "concat":
            var parts: [String] = []
            for branch in layer.branches["branches"] ?? [] { parts.append(try sequence(branch)) }
            return "Concat(\(parts.joined(separator: ", ")))"
        default:
            throw DeMLError(
                .malformed, "the layer \(layer.type) has no PyTorch module that is written here",
                place: "layer \(layer.name)",
                hint: "--to safetensors writes the numbers")
        }
    }
}
