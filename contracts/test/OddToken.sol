// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {PlainToken} from "./PlainToken.sol";

/// @title A token that behaves as badly as it is told to
/// @notice For tests only: takes a fee, returns false or nothing, calls back, or takes more than it was asked to.
contract OddToken is PlainToken {
    enum Mode {
        Honest,
        TakesFee,
        ReturnsFalse,
        ReturnsNothing,
        Reenters,
        ReentersAndSwallows,
        Overcharges,
        Blocks
    }

    Mode public mode;
    address public target;
    bytes public call;

    /// @notice Who cannot receive while the mode is `Blocks`.
    address public blocked;

    /// @notice Whether the last call from within a transfer succeeded.
    bool public reentered;

    function setMode(Mode mode_) external {
        mode = mode_;
    }

    function arm(Mode mode_, address target_, bytes calldata call_) external {
        (mode, target, call) = (mode_, target_, call_);
    }

    function block_(address account) external {
        (mode, blocked) = (Mode.Blocks, account);
    }

    function _move(address from, address to, uint256 amount) internal override returns (bool) {
        if (mode == Mode.ReturnsFalse) return false;
        require(mode != Mode.Blocks || to != blocked, "blocked");
        uint256 charged = mode == Mode.Overcharges ? amount + amount / 100 + 1 : amount;
        balanceOf[from] -= charged;
        balanceOf[to] += mode == Mode.TakesFee ? amount - amount / 100 - 1 : amount;
        if (mode == Mode.Reenters || mode == Mode.ReentersAndSwallows) {
            (reentered,) = target.call(call);
            require(reentered || mode == Mode.ReentersAndSwallows, "nested call failed");
        }
        if (mode == Mode.ReturnsNothing) {
            assembly ("memory-safe") {
                return(0, 0)
            }
        }
        return true;
    }
}
