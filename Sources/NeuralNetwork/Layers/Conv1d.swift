import CKernels
import Tensors

/// Cross-correlation of a sequence: [in, l] → [out, l'], l' = ⌊(l + 2·padding - dilation·(kernel - 1) - 1)/stride⌋ + 1.
/// W `[out, in/groups, k]`, b `[out]`, both drawn from U(-1/√(in/groups·k), 1/√(in/groups·k)).
struct Conv1d: LayerDefinition {
    static let type = "conv1d"
    static let options = Conv2d.options

    var outChannels: Int
    /// Of an image with the height 1.
    var convolution: Convolution
    var inChannels: Int?
    var bias = true

    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes {
        try place.channelSequence()
        let width = try convolution.window(place, outChannels: outChannels, inChannels: inChannels).width
        let each = place.input[0] / convolution.groups
        return LayerShapes(
            output: [outChannels, width],
            parameters: try place.weightAndBias(
                [outChannels, each, convolution.kernelSize.width], fanIn: each * convolution.taps, bias: bias))
    }

    func multiplyAdds(_ layer: ResolvedLayer) -> Int {
        layer.output.reduce(1, *) * layer.input[0] / convolution.groups * convolution.taps
    }

    func preferredLayout(_ layer: ResolvedLayer) -> Layout? { .channelsLast }

    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        try convolution.build(layer, x, outputs: outChannels, bias: bias, &network)
    }
}

extension Conv1d {
    init(_ options: StrictContainer) throws {
        try options.demand("padding_mode", "zeros")
        func length(_ key: String) throws -> Int? { try options.length(key, of: Self.type) }
        guard let kernelLength = try length("kernel_size") else {
            throw options.error(.missing, "conv1d needs kernel_size")
        }
        let kernel = Size2D(1, kernelLength)
        let stride = Size2D(1, try length("stride") ?? 1)
        let dilation = Size2D(1, try length("dilation") ?? 1)
        outChannels = try options.required("out_channels", Int.self)
        var padding = try Convolution.padding(options, kernel: kernel, stride: stride, dilation: dilation) {
            try length($0).map { Size2D(0, $0) }
        }
        padding.height = 0
        convolution = Convolution(
            kernelSize: kernel, stride: stride, padding: padding, dilation: dilation,
            groups: try options.optional("groups", Int.self) ?? 1)
        inChannels = try options.optional("in_channels", Int.self)
        bias = try options.optional("bias", Bool.self) ?? true
    }

    func encode(_ options: inout OptionEncoder) throws {
        try options.put("out_channels", outChannels)
        try options.put("kernel_size", convolution.kernelSize.width)
        try options.put("stride", convolution.stride.width, unless: 1)
        try options.put("padding", convolution.padding.width, unless: 0)
        try options.put("dilation", convolution.dilation.width, unless: 1)
        try options.put("groups", convolution.groups, unless: 1)
        try options.put("in_channels", inChannels)
        try options.put("bias", bias, unless: true)
    }
}

extension Layer {
    /// Cross-correlation of a sequence: [in, l] → [out, l'], l' = ⌊(l + 2·padding - dilation·(kernel - 1) - 1)/stride⌋ + 1.
    public static func conv1d(
        outChannels: Int, kernelSize: Int, stride: Int = 1, padding: Int = 0, dilation: Int = 1, groups: Int = 1,
        inChannels: Int? = nil, bias: Bool = true
    ) -> Layer {
        Layer(
            Conv1d(
                outChannels: outChannels,
                convolution: Convolution(
                    kernelSize: Size2D(1, kernelSize), stride: Size2D(1, stride), padding: Size2D(0, padding),
                    dilation: Size2D(1, dilation), groups: groups),
                inChannels: inChannels, bias: bias))
    }
}
