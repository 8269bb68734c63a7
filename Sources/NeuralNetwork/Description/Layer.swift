/// One layer of a model, with torch's names, options and defaults. Shapes are those of one example, without the batch.
///
/// A layer that can be left out of a key (such as `in_features`) takes it from its input; given, it is checked.
public indirect enum Layer: Sendable, Equatable {
    /// y = x·Wᵀ + b over the last dimension: [..., in] → [..., out]. W `[out, in]`, b `[out]`, both drawn from
    /// U(-1/√in, 1/√in).
    case linear(outFeatures: Int, inFeatures: Int? = nil, bias: Bool = true)
    /// Cross-correlation: [in, h, w] → [out, h', w'], h' = ⌊(h + 2·padding - kernel)/stride⌋ + 1. W `[out, in, kh, kw]`,
    /// b `[out]`, both drawn from U(-1/√(in·kh·kw), 1/√(in·kh·kw)).
    case conv2d(
        outChannels: Int, kernelSize: Size2D, stride: Size2D = 1, padding: Size2D = 0, inChannels: Int? = nil,
        bias: Bool = true)
    /// The largest of each window, padding counting as -∞. The stride's default is the kernel's size.
    case maxPool2d(Window2D)
    /// The mean of each window, padding counting as zeros. The stride's default is the kernel's size.
    case averagePool2d(Window2D)
    /// The mean of each channel: [c, h, w] → [c, 1, 1] (torch's `AdaptiveAvgPool2d(1)`).
    case globalAveragePool2d
    /// Any shape → one dimension, in torch's order (channels first).
    case flatten
    /// max(x, 0).
    case relu
    /// x where x > 0, else slope·x.
    case leakyRelu(negativeSlope: Double = 0.01)
    /// x·Φ(x), Φ being the normal distribution function (torch's `approximate="none"`).
    case gelu
    case tanh
    case sigmoid
    /// In training each element is zero with probability p, else x/(1-p); the identity otherwise.
    case dropout(p: Double = 0.5)
    /// (x - mean)/√(variance + ε)·γ + β over the last dimensions, `normalizedShape`; γ = 1 and β = 0 at the start.
    case layerNorm(normalizedShape: [Int]? = nil, epsilon: Double = 1e-5, affine: Bool = true, bias: Bool = true)
    /// The same over groups of channels of one example: [c, ...] → [c, ...]; γ and β `[c]`. Wu and He, 2018.
    case groupNorm(groups: Int, channels: Int? = nil, epsilon: Double = 1e-5, affine: Bool = true)
    /// layers(x) + x, or layers(x) + projection(x). He, Zhang, Ren, Sun, "Deep residual learning", 2015. Parameters are
    /// named as those of a module with `self.layers` and `self.projection`, each an `nn.Sequential`.
    case residual(layers: [Layer], projection: [Layer] = [])
    /// exp(x)/Σexp(x). Last layer only, for predictions: `cross_entropy` takes the logits before it, as in torch.
    case softmax

    /// The name in a model description.
    public var type: String { kind.rawValue }

    enum Kind: String, CaseIterable {
        case linear, conv2d, flatten, relu, gelu, tanh, sigmoid, dropout, residual, softmax
        case maxPool2d = "max_pool2d"
        case averagePool2d = "avg_pool2d"
        case globalAveragePool2d = "global_avg_pool2d"
        case leakyRelu = "leaky_relu"
        case layerNorm = "layer_norm"
        case groupNorm = "group_norm"
    }

    var kind: Kind {
        switch self {
        case .linear: .linear
        case .conv2d: .conv2d
        case .maxPool2d: .maxPool2d
        case .averagePool2d: .averagePool2d
        case .globalAveragePool2d: .globalAveragePool2d
        case .flatten: .flatten
        case .relu: .relu
        case .leakyRelu: .leakyRelu
        case .gelu: .gelu
        case .tanh: .tanh
        case .sigmoid: .sigmoid
        case .dropout: .dropout
        case .layerNorm: .layerNorm
        case .groupNorm: .groupNorm
        case .residual: .residual
        case .softmax: .softmax
        }
    }
}

/// Height and width. In a description one number stands for both, as in torch.
public struct Size2D: Sendable, Equatable, ExpressibleByIntegerLiteral, CustomStringConvertible {
    public var height: Int
    public var width: Int

    public init(_ height: Int, _ width: Int) {
        self.height = height
        self.width = width
    }

    public init(integerLiteral value: Int) {
        self.init(value, value)
    }

    public var description: String { "[\(height), \(width)]" }
}

/// The windows of a pooling layer.
public struct Window2D: Sendable, Equatable {
    public var kernelSize: Size2D
    public var stride: Size2D
    public var padding: Size2D

    public init(kernelSize: Size2D, stride: Size2D? = nil, padding: Size2D = 0) {
        self.kernelSize = kernelSize
        self.stride = stride ?? kernelSize
        self.padding = padding
    }
}
