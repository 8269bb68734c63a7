/// What bills may come to, by the agreed price and our own clock.
extension PaymentStateMachine {
    /// What all bills together may come to if everything that runs ends at `time`.
    public func exposure(at time: Timestamp) -> Amount {
        accounts.byID.values.reduce(.zero) { sum, account in
            guard account.isOpen, account.unusable == nil, account.refusal == nil else { return sum + account.promised }
            return sum + max(account.promised, allowance(of: account, at: time))
        }
    }

    /// True if the budget allows another machine to be started and to run for `time`.
    public func allows(_ contract: Contract, for time: Duration, at now: Timestamp) -> Bool {
        guard !isExhausted else { return false }
        let seconds = time.inSeconds
        let cost = contract.price.cost(seconds: seconds, cpuSeconds: seconds * Double(contract.threads))
        return exposure(at: now + time) + (Amount(glm: cost) ?? budget) <= budget
    }

    /// The most that all activities of an agreement may cost together.
    func allowance(of account: Account, at now: Timestamp) -> Amount {
        (Array(account.activities.values) + account.unnamed).reduce(.zero) {
            $0 + allowance(account.contract, $1, usage: nil, at: now)
        }
    }

    /// The most that an activity may cost: the agreed price for the time by our clock, and for the processor time that is
    /// known or possible; no more than the price of the usage that a bill itself reports.
    func allowance(
        _ contract: Contract, _ activity: ActivityAccount, usage: [Double]?, at now: Timestamp
    ) -> Amount {
        let end = activity.endedAt ?? now
        let threads = Double(max(1, contract.threads))
        let seconds = max(0, (end - activity.startedAt).inSeconds) + tolerance.seconds
        var cpu = seconds * threads
        if let known = activity.cpu {
            let since = max(0, (end - known.at).inSeconds) + tolerance.seconds
            cpu = min(cpu, known.seconds + since * threads)
        }
        var cost = contract.price.cost(seconds: seconds, cpuSeconds: cpu)
        if let usage, let byUsage = contract.price.cost(usage: usage) {
            cost = min(cost, byUsage + contract.price.perSecond * tolerance.seconds)
        }
        return Amount(glm: max(0, cost) * (1 + tolerance.relative)) ?? .zero
    }
}
