// Ways to make the Foundation objects that the software Metal answers with.
#pragma once

#import <Foundation/Foundation.h>

#include <string>
#include <vector>

// Autoreleased, as what Metal hands out.
NSArray<NSString*>* soft_array(const std::vector<std::string>& texts);
NSError* soft_error(NSString* domain, NSInteger code, const std::string& description);
