// Text between Foundation and C++.
#pragma once

#import <Foundation/Foundation.h>

#include <string>
#include <string_view>

namespace metalgen {

inline std::string text_of(NSString* string) {
  const char* text = string.UTF8String;
  return text ? text : "";
}

inline std::string text_of(NSError* error) {
  const std::string text = text_of(error.localizedDescription);
  return text.empty() ? "no reason given" : text;
}

inline NSString* string_of(std::string_view text) {
  return [[NSString alloc] initWithBytes:text.data()
                                  length:text.size()
                                encoding:NSUTF8StringEncoding];
}

}  // namespace metalgen
