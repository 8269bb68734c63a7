import CKernels
import Tensors

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

/// The windows of a pooling layer.
public struct Window2D: Sendable, Equatable {
    public var kernelSize: Size2D
    public var stride: Size2D
    public var padding: Size2D
    /// Whether there is one more window where numbers are left at the end: it reaches beyond it, and what is there counts
    /// for nothing.
    public var ceilMode: Bool
    /// Whether means count padding as zeros, or leave it out.
    public var countIncludePad: Bool

    public init(
        kernelSize: Size2D, stride: Size2D? = nil, padding: Size2D = 0, ceilMode: Bool = false,
        countIncludePad: Bool = true
    ) {
        self.kernelSize = kernelSize
        self.stride = stride ?? kernelSize
        self.padding = padding
        self.ceilMode = ceilMode
        self.countIncludePad = countIncludePad
    }

    static let options = ["kernel_size", "stride", "padding", "ceil_mode"]

    init(_ options: StrictContainer) throws {
        self.init(
            kernelSize: try options.required("kernel_size", Size2D.self),
            stride: try options.optional("stride", Size2D.self),
            padding: try options.optional("padding", Size2D.self) ?? 0,
            ceilMode: try options.optional("ceil_mode", Bool.self) ?? false)
    }

    /// Of a sequence, which is an image with the height 1.
    init(length: Int, stride: Int?, padding: Int) {
        self.init(kernelSize: Size2D(1, length), stride: Size2D(1, stride ?? length), padding: Size2D(0, padding))
    }

    init(sequence options: StrictContainer, of layer: String) throws {
        guard let length = try options.length("kernel_size", of: layer) else {
            throw options.error(.missing, "\(layer) needs kernel_size")
        }
        self.init(
            length: length, stride: try options.length("stride", of: layer),
            padding: try options.length("padding", of: layer) ?? 0)
        ceilMode = try options.optional("ceil_mode", Bool.self) ?? false
    }

    /// Of images as they are, of sequences the width alone.
    func encode(_ options: inout OptionEncoder, isSequence: Bool) throws {
        if isSequence {
            try options.put("kernel_size", kernelSize.width)
            try options.put("stride", stride.width, unless: kernelSize.width)
            try options.put("padding", padding.width, unless: 0)
        } else {
            try options.put("kernel_size", kernelSize)
            try options.put("stride", stride, unless: kernelSize)
            try options.put("padding", padding, unless: 0)
        }
        try options.put("ceil_mode", ceilMode, unless: false)
        try options.put("count_include_pad", countIncludePad, unless: true)
    }

    /// The kernels' form of these windows over images [batch][height][width][channels]; the batch is set with each pass.
    func kernel(from x: Activations, to y: Activations) -> deml_pool2d {
        deml_pool2d(
            batch: 0, height: x.height, width: x.width, channels: x.channels, out_height: y.height, out_width: y.width,
            kernel_height: kernelSize.height, kernel_width: kernelSize.width, stride_height: stride.height,
            stride_width: stride.width, padding_height: padding.height, padding_width: padding.width,
            exclude_padding: !countIncludePad)
    }
}

extension StrictContainer {
    /// An option of a layer over sequences: a number, or a list with one.
    func length(_ key: String, of layer: String) throws -> Int? {
        guard let values = try optional(key, NumberList<Int>.self)?.values else { return nil }
        guard values.count == 1 else {
            throw error(.malformed, "\(key) of \(layer) is one number, but there are \(values.count)")
        }
        return values[0]
    }
}

/// A layer that makes one number of each window of an image.
protocol PoolingLayer: LayerDefinition {
    var window: Window2D { get }
    init(window: Window2D)
    /// Refuses what torch's layer can be asked for and this one cannot.
    static func demand(of options: StrictContainer) throws
    /// Whether it works on sequences.
    static var isSequence: Bool { get }
}

extension PoolingLayer {
    static var isSequence: Bool { false }

    static func demand(of options: StrictContainer) throws {}

    init(_ options: StrictContainer) throws {
        try Self.demand(of: options)
        var window = Self.isSequence ? try Window2D(sequence: options, of: Self.type) : try Window2D(options)
        if Self.options.contains("count_include_pad") {
            window.countIncludePad = try options.optional("count_include_pad", Bool.self) ?? true
        }
        self.init(window: window)
    }

    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes {
        if Self.isSequence { try place.channelSequence() } else { try place.image() }
        return try place.pooled(window)
    }

    func multiplyAdds(_ layer: ResolvedLayer) -> Int {
        layer.output.reduce(1, *) * window.kernelSize.height * window.kernelSize.width
    }

    func preferredLayout(_ layer: ResolvedLayer) -> Layout? { .channelsLast }

    func encode(_ options: inout OptionEncoder) throws {
        try window.encode(&options, isSequence: Self.isSequence)
    }
}

/// The same over a sequence [channels, length], which is an image with one row.
protocol SequencePoolingLayer: PoolingLayer {
    associatedtype OfImages: PoolingLayer
}

extension SequencePoolingLayer {
    static var options: [String] { OfImages.options }
    static var isSequence: Bool { true }

    static func demand(of options: StrictContainer) throws { try OfImages.demand(of: options) }

    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        try OfImages(window: window).build(layer, x, &network)
    }
}

extension LayerPlace {
    private static let largestSize = 1 << 16

    private func text(_ size: Size2D) -> String { input.count == 2 ? "\(size.width)" : "\(size)" }

    /// Height and width of what windows over the input give: ⌊(size + 2·padding - reach)/stride⌋ + 1, where the reach is
    /// dilation·(kernel - 1) + 1. With ⌈⌉ for `ceilMode`, but no window begins beyond the input and the padding before it.
    /// A sequence [channels, length] has the height 1.
    func window(
        _ kernel: Size2D, _ stride: Size2D, _ padding: Size2D, dilation: Size2D = 1, ceilMode: Bool = false
    ) throws(DeMLError) -> (height: Int, width: Int) {
        let sizes = [
            ("kernel_size", kernel, 1), ("stride", stride, 1), ("padding", padding, 0), ("dilation", dilation, 1),
        ]
        for (key, size, least) in sizes {
            let range = least..<Self.largestSize
            guard range.contains(size.height), range.contains(size.width) else {
                throw DeMLError(.outOfRange, "\(key) \(text(size)) is out of range")
            }
        }
        let reach = Size2D(dilation.height * (kernel.height - 1) + 1, dilation.width * (kernel.width - 1) + 1)
        let (height, width) = input.count == 2 ? (1, input[1]) : (input[1], input[2])
        guard reach.height <= height + 2 * padding.height, reach.width <= width + 2 * padding.width else {
            throw DeMLError(
                .shape,
                "kernel_size \(text(kernel))\(dilation == 1 ? "" : " with dilation \(text(dilation))") is larger than the input shape \(input) with padding \(text(padding))"
            )
        }
        func count(_ size: Int, _ padding: Int, _ reach: Int, _ stride: Int) -> Int {
            let count = (size + 2 * padding - reach) / stride + 1
            let isNext = count * stride - padding < size && (size + 2 * padding - reach) % stride > 0
            return ceilMode && isNext ? count + 1 : count
        }
        return (
            count(height, padding.height, reach.height, stride.height),
            count(width, padding.width, reach.width, stride.width)
        )
    }

    /// The shapes of a pooling layer.
    fileprivate func pooled(_ window: Window2D) throws(DeMLError) -> LayerShapes {
        let kernel = window.kernelSize
        let (height, width) = try self.window(kernel, window.stride, window.padding, ceilMode: window.ceilMode)
        guard 2 * window.padding.height <= kernel.height, 2 * window.padding.width <= kernel.width else {
            throw DeMLError(.shape, "padding \(text(window.padding)) is more than half of kernel_size \(text(kernel))")
        }
        guard kernel.height * kernel.width <= Self.largestSize else {
            throw DeMLError(.tooLarge, "kernel_size \(text(kernel)) has more than \(Self.largestSize) elements")
        }
        return LayerShapes(output: input.count == 2 ? [input[0], width] : [input[0], height, width])
    }
}
