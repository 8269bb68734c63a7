import Tensors

extension Layer: Codable {
    public init(from decoder: any Decoder) throws {
        guard decoder.codingPath.count <= 64 else {
            throw DeMLError(.tooLarge, "the layers are nested too deep", place: place(of: decoder.codingPath))
        }
        let name = try StrictContainer(decoder, "a layer", keys: nil).required("type", String.self)
        guard let kind = Kind(rawValue: name) else {
            throw Self.unknown(name, decoder)
        }
        func container(_ keys: String...) throws -> StrictContainer {
            try StrictContainer(decoder, name, keys: ["type"] + keys)
        }
        switch kind {
        case .linear:
            let keys = try container("out_features", "in_features", "bias")
            self = .linear(
                outFeatures: try keys.required("out_features", Int.self),
                inFeatures: try keys.optional("in_features", Int.self),
                bias: try keys.optional("bias", Bool.self) ?? true)
        case .conv2d:
            let keys = try container(
                "out_channels", "in_channels", "kernel_size", "stride", "padding", "bias", "groups", "dilation")
            try keys.demand("groups", 1)
            try keys.demand("dilation", 1)
            let kernel = try keys.required("kernel_size", Size2D.self)
            let stride = try keys.optional("stride", Size2D.self) ?? 1
            self = .conv2d(
                outChannels: try keys.required("out_channels", Int.self), kernelSize: kernel, stride: stride,
                padding: try Self.padding(keys, kernel, stride),
                inChannels: try keys.optional("in_channels", Int.self),
                bias: try keys.optional("bias", Bool.self) ?? true)
        case .maxPool2d:
            let keys = try container("kernel_size", "stride", "padding", "ceil_mode", "dilation")
            try keys.demand("ceil_mode", false)
            try keys.demand("dilation", 1)
            self = .maxPool2d(try Self.window(keys))
        case .averagePool2d:
            let keys = try container("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")
            try keys.demand("ceil_mode", false)
            try keys.demand("count_include_pad", true)
            self = .averagePool2d(try Self.window(keys))
        case .leakyRelu:
            let keys = try container("negative_slope")
            self = .leakyRelu(negativeSlope: try keys.optional("negative_slope", Double.self) ?? 0.01)
        case .gelu:
            try container("approximate").demand("approximate", "none")
            self = .gelu
        case .dropout:
            self = .dropout(p: try container("p").optional("p", Double.self) ?? 0.5)
        case .layerNorm:
            let keys = try container("normalized_shape", "eps", "elementwise_affine", "bias")
            self = .layerNorm(
                normalizedShape: try keys.optional("normalized_shape", NumberList<Int>.self)?.values,
                epsilon: try keys.optional("eps", Double.self) ?? 1e-5,
                affine: try keys.optional("elementwise_affine", Bool.self) ?? true,
                bias: try keys.optional("bias", Bool.self) ?? true)
        case .groupNorm:
            let keys = try container("num_groups", "num_channels", "eps", "affine")
            self = .groupNorm(
                groups: try keys.required("num_groups", Int.self),
                channels: try keys.optional("num_channels", Int.self),
                epsilon: try keys.optional("eps", Double.self) ?? 1e-5,
                affine: try keys.optional("affine", Bool.self) ?? true)
        case .residual:
            let keys = try container("layers", "projection")
            self = .residual(
                layers: try keys.required("layers", LayerList.self).layers,
                projection: try keys.optional("projection", LayerList.self)?.layers ?? [])
        case .globalAveragePool2d, .flatten, .relu, .tanh, .sigmoid, .softmax:
            _ = try container()
            self = Self.withoutOptions(kind)
        }
    }

    /// Options that have their default are left out, so that the text stays as short as a person writes it.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: TextKey.self)
        func put<Value: Encodable & Equatable>(_ key: String, _ value: Value?, unless standard: Value? = nil) throws {
            if let value, value != standard { try container.encode(value, forKey: TextKey(key)) }
        }
        try put("type", type)
        switch self {
        case .linear(let outFeatures, let inFeatures, let bias):
            try put("out_features", outFeatures)
            try put("in_features", inFeatures)
            try put("bias", bias, unless: true)
        case .conv2d(let outChannels, let kernelSize, let stride, let padding, let inChannels, let bias):
            try put("out_channels", outChannels)
            try put("kernel_size", kernelSize)
            try put("stride", stride, unless: 1)
            try put("padding", padding, unless: 0)
            try put("in_channels", inChannels)
            try put("bias", bias, unless: true)
        case .maxPool2d(let window), .averagePool2d(let window):
            try put("kernel_size", window.kernelSize)
            try put("stride", window.stride, unless: window.kernelSize)
            try put("padding", window.padding, unless: 0)
        case .leakyRelu(let negativeSlope):
            try put("negative_slope", negativeSlope, unless: 0.01)
        case .dropout(let p):
            try put("p", p, unless: 0.5)
        case .layerNorm(let normalizedShape, let epsilon, let affine, let bias):
            try put("normalized_shape", normalizedShape)
            try put("eps", epsilon, unless: 1e-5)
            try put("elementwise_affine", affine, unless: true)
            try put("bias", bias, unless: true)
        case .groupNorm(let groups, let channels, let epsilon, let affine):
            try put("num_groups", groups)
            try put("num_channels", channels)
            try put("eps", epsilon, unless: 1e-5)
            try put("affine", affine, unless: true)
        case .residual(let layers, let projection):
            try put("layers", layers)
            try put("projection", projection, unless: [])
        case .globalAveragePool2d, .flatten, .relu, .gelu, .tanh, .sigmoid, .softmax:
            break
        }
    }

    private static func withoutOptions(_ kind: Kind) -> Layer {
        switch kind {
        case .globalAveragePool2d: .globalAveragePool2d
        case .relu: .relu
        case .tanh: .tanh
        case .sigmoid: .sigmoid
        case .softmax: .softmax
        default: .flatten
        }
    }

    private static func unknown(_ name: String, _ decoder: any Decoder) -> DeMLError {
        let known = Kind.allCases.map(\.rawValue).sorted().joined(separator: ", ")
        let isBatchNorm = name.lowercased().hasPrefix("batch")
        return DeMLError(
            .outOfRange, "the layer \(name.quotedForMessage) is unknown", place: place(of: decoder.codingPath),
            hint: isBatchNorm
                ? "averaged models cannot share batch statistics: use group_norm" : "known layers: \(known)")
    }

    private static func window(_ keys: StrictContainer) throws -> Window2D {
        Window2D(
            kernelSize: try keys.required("kernel_size", Size2D.self), stride: try keys.optional("stride", Size2D.self),
            padding: try keys.optional("padding", Size2D.self) ?? 0)
    }

    /// torch's `padding`: numbers, `valid` or `same`.
    private static func padding(_ keys: StrictContainer, _ kernel: Size2D, _ stride: Size2D) throws -> Size2D {
        guard let word = try? keys.optional("padding", String.self) else {
            return try keys.optional("padding", Size2D.self) ?? 0
        }
        switch word {
        case "valid": return 0
        case "same":
            guard stride == 1, kernel.height % 2 == 1, kernel.width % 2 == 1 else {
                throw keys.error(
                    .shape, "padding 'same' needs stride 1 and an odd kernel_size, but they are \(stride) and \(kernel)"
                )
            }
            return Size2D(kernel.height / 2, kernel.width / 2)
        default:
            guard let size = Int(word) else {
                throw keys.error(.malformed, "padding \(word.quotedForMessage) is neither a size, 'same' nor 'valid'")
            }
            return Size2D(size, size)
        }
    }
}

extension Size2D: Codable {
    public init(from decoder: any Decoder) throws {
        let sizes = try NumberList<Int>(from: decoder).values
        guard sizes.count == 1 || sizes.count == 2 else {
            throw DeMLError(
                .malformed, "a size is one number or two, but there are \(sizes.count)",
                place: place(of: decoder.codingPath))
        }
        self.init(sizes[0], sizes[sizes.count - 1])
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        if height == width {
            try container.encode(height)
        } else {
            try container.encode([height, width])
        }
    }
}

/// One number or a list of them.
struct NumberList<Number: Decodable>: Decodable {
    var values: [Number]

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let value = try? container.decode(Number.self) {
            values = [value]
        } else {
            values = try container.decode([Number].self)
        }
    }
}

/// One layer or a list of them.
struct LayerList: Decodable {
    var layers: [Layer]

    init(from decoder: any Decoder) throws {
        if var list = try? decoder.unkeyedContainer() {
            layers = []
            while !list.isAtEnd { layers.append(try list.decode(Layer.self)) }
        } else {
            layers = [try Layer(from: decoder)]
        }
    }
}
