import Tensors

/// The largest of each window of a sequence, padding counting as -∞: [c, l] → [c, l']. The stride's default is the kernel's
/// size.
struct MaxPool1d: PoolingLayer {
    static let type = "max_pool1d"
    static let options = MaxPool2d.options

    /// Of an image with the height 1.
    var window: Window2D

    /// The pool of an image with one row.
    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        try MaxPool2d(window: window).build(layer, x, &network)
    }
}

extension MaxPool1d {
    init(_ options: StrictContainer) throws {
        try options.demand("ceil_mode", false)
        try options.demand("dilation", 1)
        window = try Window2D(sequence: options, of: Self.type)
    }
}

extension Layer {
    /// The largest of each window of a sequence, padding counting as -∞. The stride's default is the kernel's size.
    public static func maxPool1d(kernelSize: Int, stride: Int? = nil, padding: Int = 0) -> Layer {
        Layer(MaxPool1d(window: Window2D(length: kernelSize, stride: stride, padding: padding)))
    }
}
